#pragma once

#include "text/jinja/ast.h"

namespace sampan::jinja {

// Decides where every variable of a template lives, by Jinja's own rules: which names a frame (a
// loop's body, a macro, a with block …) introduces is settled before anything runs, so that a name
// set anywhere in a frame belongs to that frame in all of it, and hides the rendering's variable of
// that name there. Also reports what Jinja reports before running: unknown filters and tests
// outside conditions, break outside a loop. Throws Error kInvalidData "line N: …".
void resolve_scopes(TemplateTree& tree);

}  // namespace sampan::jinja
