#pragma once

namespace sampan {

class Activations;
struct MatmulTask;

// Is told of products before they are computed; what measures which columns of a matrix matter.
class ProductObserver {
 public:
  virtual ~ProductObserver() = default;
  // x.floats() are there. Of a product of a whole x the task covers all rows; its results are not
  // to be touched.
  virtual void on_product(const MatmulTask& task, const Activations& x) = 0;
};

// While it lives, the observer is told of all products that this thread asks for (matmul and
// matmul_tasks). One at a time a thread (CHECK).
class ObservedProducts {
 public:
  explicit ObservedProducts(ProductObserver& observer);
  ~ObservedProducts();
  ObservedProducts(const ObservedProducts&) = delete;
  ObservedProducts& operator=(const ObservedProducts&) = delete;
};

}  // namespace sampan
