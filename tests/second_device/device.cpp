// A second device for tests. Its memory is the processor's, but torch takes it for another device, as it would a GPU. Every
// operation runs on the processor, mostly by copies. What would wait for a GPU (a value that is read) is counted. Random numbers
// come from a generator of its own. On demand it has no float64, like the graphics cards of Apple.

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/Functions.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/native_batch_norm.h>
#include <ATen/ops/set_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_native.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/_local_scalar_dense_native.h>
#include <c10/core/Allocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <atomic>
#include <cstdlib>
#include <cstring>

namespace {

constexpr auto kind = c10::DeviceType::PrivateUse1;
std::atomic<int64_t> waits{0};
thread_local bool by_copies = false;  // a copy of the fallback's own, not of the program's
bool has_float64 = true;

at::Generator& generator() {
  static at::Generator own = at::detail::createCPUGenerator();
  return own;
}

c10::ScalarType known(std::optional<c10::ScalarType> type) {
  const auto found = c10::dtype_or_default(type);
  TORCH_CHECK_TYPE(has_float64 || found != at::kDouble, "this device has no float64");
  return found;
}

struct Memory final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    void* start = bytes ? std::malloc(bytes) : nullptr;
    return {start, start, &std::free, c10::Device(kind, 0)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &std::free; }
  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }
};
Memory memory;
REGISTER_ALLOCATOR(kind, &memory);

struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return kind; }
  c10::Device exchangeDevice(c10::Device) const override { return {kind, 0}; }
  c10::Device getDevice() const override { return {kind, 0}; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device device) const noexcept override { return c10::Stream(c10::Stream::DEFAULT, device); }
  c10::Stream exchangeStream(c10::Stream stream) const noexcept override { return stream; }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::Allocator* getPinnedMemoryAllocator() const override { return c10::GetAllocator(c10::DeviceType::CPU); }
};
const bool hooked = (at::RegisterPrivateUse1HooksInterface(new Hooks), true);

at::Tensor empty(
    c10::IntArrayRef size, std::optional<c10::ScalarType> type, std::optional<c10::Layout>, std::optional<c10::Device>,
    std::optional<bool>, std::optional<c10::MemoryFormat> format) {
  return at::detail::empty_generic(size, &memory, c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), known(type), format);
}

at::Tensor empty_strided(
    c10::IntArrayRef size, c10::IntArrayRef stride, std::optional<c10::ScalarType> type, std::optional<c10::Layout>,
    std::optional<c10::Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(size, stride, &memory, c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), known(type));
}

// The same memory, seen as the processor's.
at::Tensor here(const at::Tensor& there) {
  if (there.is_cpu()) return there;
  auto* start = static_cast<char*>(there.storage().mutable_data());
  auto options = at::TensorOptions().dtype(there.dtype()).device(c10::DeviceType::CPU);
  return at::from_blob(start + there.storage_offset() * there.itemsize(), there.sizes(), there.strides(), [](void*) {}, options);
}

at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool non_blocking) {
  if (!by_copies && to.is_cpu() && !from.is_cpu() && !non_blocking) ++waits;
  here(to).copy_(here(from));
  return to;
}

at::Tensor copy_from_and_resize(const at::Tensor& from, const at::Tensor& to) {
  to.resize_(from.sizes());
  return copy_from(from, to, false);
}

at::Scalar read(const at::Tensor& value) {
  ++waits;
  return at::native::_local_scalar_dense_cpu(here(value));
}

const at::Tensor& resize(const at::Tensor& self, c10::SymIntArrayRef size, std::optional<c10::MemoryFormat>) {
  auto sizes = C10_AS_INTARRAYREF_SLOW(size);
  auto* inner = self.unsafeGetTensorImpl();
  inner->set_sizes_contiguous(sizes);
  auto bytes = static_cast<size_t>(self.numel() + self.storage_offset()) * self.itemsize();
  if (bytes > self.storage().nbytes()) {
    auto fresh = memory.allocate(bytes);
    std::memcpy(fresh.get(), self.storage().data(), self.storage().nbytes());
    self.storage().set_data_ptr_noswap(std::move(fresh));
    self.storage().set_nbytes(bytes);
  }
  return self;
}

at::Tensor there(const at::Tensor& value) {
  at::Tensor found = at::empty(value.sizes(), value.options().device(kind));
  here(found).copy_(value);
  return found;
}

std::optional<at::Tensor> here(const std::optional<at::Tensor>& value) {
  return value && value->defined() ? std::optional(here(*value)) : std::nullopt;
}

// The one operation that torch asks another device to bring itself.
at::Tensor convolution(
    const at::Tensor& input, const at::Tensor& weight, const std::optional<at::Tensor>& bias, c10::SymIntArrayRef stride,
    c10::SymIntArrayRef padding, c10::SymIntArrayRef dilation, bool transposed, c10::SymIntArrayRef output_padding,
    c10::SymInt groups) {
  return there(at::convolution_symint(
      here(input), here(weight), here(bias), stride, padding, dilation, transposed, output_padding, groups));
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> convolution_backward(
    const at::Tensor& gradient, const at::Tensor& input, const at::Tensor& weight, c10::SymIntArrayRef stride,
    c10::SymIntArrayRef padding, c10::SymIntArrayRef dilation, bool transposed, c10::SymIntArrayRef output_padding,
    c10::SymInt groups, std::array<bool, 3> wanted) {
  const c10::SymInt channels = weight.size(transposed ? 1 : 0) * (transposed ? groups.expect_int() : 1);
  auto [a, b, c] = at::convolution_backward_symint(
      here(gradient), here(input), here(weight), c10::SymIntArrayRef(&channels, 1), stride, padding, dilation, transposed,
      output_padding, groups, wanted);
  auto back = [](const at::Tensor& value) { return value.defined() ? there(value) : value; };
  return {back(a), back(b), back(c)};
}

// Its schema does not say that the running statistics change, so the fallback would leave them as they are.
std::tuple<at::Tensor, at::Tensor, at::Tensor> batch_norm(
    const at::Tensor& input, const std::optional<at::Tensor>& weight, const std::optional<at::Tensor>& bias,
    const std::optional<at::Tensor>& mean, const std::optional<at::Tensor>& variance, bool training, double momentum, double eps) {
  auto [a, b, c] = at::native_batch_norm(
      here(input), here(weight), here(bias), here(mean), here(variance), training, momentum, eps);
  return {there(a), there(b), there(c)};
}

// For the time of one operation the processor draws from the device's generator.
struct Drawing {
  at::Generator theirs = at::detail::getDefaultCPUGenerator();
  at::Tensor kept = theirs.get_state();
  Drawing() { theirs.set_state(generator().get_state()); }
  ~Drawing() {
    generator().set_state(theirs.get_state());
    theirs.set_state(kept);
  }
};

void on_the_processor(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  std::optional<Drawing> drawing;
  if (op.hasTag(at::Tag::nondeterministic_seeded)) drawing.emplace();
  const auto& name = op.schema().name();
  if (name == "aten::nonzero" || name == "aten::masked_select" || name == "aten::_unique2" || name == "aten::equal") ++waits;
  by_copies = true;
  try {
    at::native::cpu_fallback(op, stack);
  } catch (...) {
    by_copies = false;
    throw;
  }
  by_copies = false;
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&on_the_processor>()); }

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", &empty);
  m.impl("empty_strided", &empty_strided);
  m.impl("_copy_from", &copy_from);
  m.impl("_copy_from_and_resize", &copy_from_and_resize);
  m.impl("_local_scalar_dense", &read);
  m.impl("resize_", &resize);
  m.impl("as_strided", TORCH_FN(at::native::as_strided_tensorimpl));
  m.impl("view", TORCH_FN(at::native::view));
  m.impl("_reshape_alias", TORCH_FN(at::native::_reshape_alias));
  m.impl("convolution_overrideable", &convolution);
  m.impl("convolution_backward_overrideable", &convolution_backward);
  m.impl("native_batch_norm", &batch_norm);
  m.impl("unfold", TORCH_FN(at::native::unfold));
  m.impl("set_.source_Storage", TORCH_FN(at::native::set_));
  m.impl("set_.source_Storage_storage_offset", TORCH_FN(at::native::set_storage_cpu_));
}

TORCH_LIBRARY(second_device, m) {
  m.def("waits() -> int", [] { return waits.load(); });
  m.def("random_state() -> Tensor", [] { return generator().get_state(); });
  m.def("set_random_state(Tensor state) -> ()", [](const at::Tensor& state) { generator().set_state(state); });
  m.def("seed(int seed) -> ()", [](int64_t seed) { generator().set_current_seed(static_cast<uint64_t>(seed)); });
  m.def("with_float64(bool wanted) -> ()", [](bool wanted) { has_float64 = wanted; });
}

}  // namespace
