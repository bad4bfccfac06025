#pragma once

#include "serve/api/route.h"

namespace sampan {

void health(Call call);
void version(Call call);
void metrics_text(Call call);

}  // namespace sampan
