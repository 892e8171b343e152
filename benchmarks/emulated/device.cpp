// An accelerator for torch (PrivateUse1) that computes on the CPU, in memory of its own: what would fail on a GPU because
// tensors lie on two devices fails here, and what comes out is what the CPU computes. Nothing of it is fast.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/autocast_mode.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/ops/_reshape_alias_cpu_dispatch.h>
#include <ATen/ops/as_strided_cpu_dispatch.h>
#include <ATen/ops/unfold_cpu_dispatch.h>
#include <ATen/ops/view_cpu_dispatch.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/core/impl/alloc_cpu.h>
#include <torch/extension.h>

#include <cstring>
#include <map>

namespace {

using at::Tensor;
constexpr auto DEVICE = c10::DeviceType::PrivateUse1;
const c10::DispatchKeySet KEYS(c10::DispatchKey::PrivateUse1);
std::map<std::string, long> counts;  // operations by name

struct Allocator final : at::Allocator {
  at::DataPtr allocate(size_t bytes) override {
    void* data = c10::alloc_cpu(bytes);
    return {data, data, &c10::free_cpu, at::Device(DEVICE, 0)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &c10::free_cpu; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { std::memcpy(to, from, bytes); }
};
Allocator allocator;
REGISTER_ALLOCATOR(DEVICE, &allocator);

struct Guard final : c10::impl::DeviceGuardImplInterface {
  static constexpr c10::DeviceType static_type = DEVICE;
  Guard() = default;
  explicit Guard(c10::DeviceType) {}
  c10::DeviceType type() const override { return DEVICE; }
  c10::Device exchangeDevice(c10::Device device) const override { return device; }
  c10::Device getDevice() const override { return {DEVICE, 0}; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device device) const override { return c10::Stream(c10::Stream::DEFAULT, device); }
  c10::Stream getDefaultStream(c10::Device device) const override { return c10::Stream(c10::Stream::DEFAULT, device); }
  c10::Stream getNewStream(c10::Device device, int) const override { return c10::Stream(c10::Stream::DEFAULT, device); }
  c10::Stream exchangeStream(c10::Stream stream) const override { return stream; }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  void synchronizeDevice(c10::DeviceIndex) const override {}
  void synchronizeStream(const c10::Stream&) const override {}
  bool queryStream(const c10::Stream&) const override { return true; }
  void record(void**, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, const c10::DeviceIndex) const noexcept override {}
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

struct Generator : at::CPUGeneratorImpl {
  Generator() : at::CPUGeneratorImpl(c10::default_rng_seed_val) {
    device_ = c10::Device(DEVICE, 0);
    key_set_ = KEYS;
  }
};

struct Hooks : at::PrivateUse1HooksInterface {
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  void init() const override {}
  const at::Generator& getDefaultGenerator(c10::DeviceIndex) const override {
    static at::Generator generator = at::make_generator<Generator>();
    return generator;
  }
  at::Generator getNewGenerator(c10::DeviceIndex) const override { return at::make_generator<Generator>(); }
  bool isPinnedPtr(const void*) const override { return false; }
  at::Allocator* getPinnedMemoryAllocator() const override { return c10::GetAllocator(c10::kCPU); }
  c10::DeviceIndex deviceCount() const override { return 1; }
  void setCurrentDevice(c10::DeviceIndex) const override {}
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
};

// A tensor of the CPU in the same memory.
Tensor host(const Tensor& tensor) {
  auto storage = tensor.storage();
  c10::Storage shared(c10::Storage::use_byte_size_t(), storage.nbytes(),
                      c10::DataPtr(storage.mutable_data(), c10::Device(c10::kCPU)), c10::GetAllocator(c10::kCPU), true);
  Tensor made = at::detail::make_tensor<at::TensorImpl>(std::move(shared), c10::DispatchKeySet(c10::DispatchKey::CPU),
                                                      tensor.dtype());
  made.unsafeGetTensorImpl()->set_sizes_and_strides(tensor.sizes(), tensor.strides(), tensor.storage_offset());
  made._set_conj(tensor.is_conj());
  made._set_neg(tensor.is_neg());
  return made;
}

Tensor empty(c10::IntArrayRef size, std::optional<at::ScalarType> type, std::optional<at::Layout>,
             std::optional<at::Device>, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(size, &allocator, KEYS, c10::dtype_or_default(type), format);
}

Tensor empty_strided(c10::IntArrayRef size, c10::IntArrayRef stride, std::optional<at::ScalarType> type,
                     std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(size, stride, &allocator, KEYS, c10::dtype_or_default(type));
}

Tensor copy_from(const Tensor& from, const Tensor& to, bool) {
  ++counts["copy"];
  Tensor target = to.is_privateuseone() ? host(to) : to;
  target.copy_(from.is_privateuseone() ? host(from) : from);
  return to;
}

at::Scalar item(const Tensor& tensor) {
  ++counts["item"];
  return at::_local_scalar_dense(host(tensor));
}

const Tensor& resize_to(const Tensor& tensor, c10::IntArrayRef size, std::optional<at::MemoryFormat>) {
  auto* of = tensor.unsafeGetTensorImpl();
  size_t bytes = (c10::multiply_integers(size) + of->storage_offset()) * tensor.itemsize();
  size_t had = tensor.storage().nbytes();
  if (bytes > had) {
    auto data = allocator.allocate(bytes);
    if (had) std::memcpy(data.get(), tensor.storage().data(), had);
    of->unsafe_storage().set_data_ptr(std::move(data));
    of->unsafe_storage().set_nbytes(bytes);
  }
  of->set_sizes_contiguous(size);
  return tensor;
}

Tensor copy_from_and_resize(const Tensor& from, const Tensor& to) {
  return copy_from(from, resize_to(to, from.sizes(), std::nullopt), false);
}

Tensor& set_places(Tensor& tensor, at::Storage storage, int64_t offset, c10::IntArrayRef size, c10::IntArrayRef stride) {
  auto* of = tensor.unsafeGetTensorImpl();
  of->set_storage_keep_dtype(std::move(storage));
  of->set_storage_offset(offset);
  if (stride.size() == size.size()) {
    of->set_sizes_and_strides(size, stride);
  } else {
    of->set_sizes_contiguous(size);
  }
  return tensor;
}

Tensor& set_storage(Tensor& tensor, at::Storage storage) {
  auto length = static_cast<int64_t>(storage.nbytes() / tensor.itemsize());
  return set_places(tensor, std::move(storage), 0, {length}, {1});
}

Tensor& set_tensor(Tensor& tensor, const Tensor& other) {
  return set_places(tensor, other.storage(), other.storage_offset(), other.sizes(), other.strides());
}

// CUDA takes indices from the CPU too.
bool may_mix(const std::string& name) {
  for (const char* known : {"aten::index.", "aten::index_put", "aten::_index_put_impl_", "aten::_unsafe_index."}) {
    if (name.rfind(known, 0) == 0) return true;
  }
  return false;
}

// Any other operation: the CPU's kernel on the same memory.
void compute(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  auto name = c10::toString(op.operator_name());
  ++counts[name];
  bool here = false, elsewhere = false;
  std::vector<std::pair<Tensor, Tensor>> lent;                // ours, and the CPU's in its memory
  std::vector<std::pair<at::Generator, at::Generator>> draws;  // ours, and the CPU's that stands for it
  auto lend = [&](const Tensor& tensor) -> Tensor {
    if (!tensor.defined() || !tensor.is_privateuseone()) {
      elsewhere |= tensor.defined() && tensor.dim() > 0;
      return tensor;
    }
    here = true;
    lent.emplace_back(tensor, host(tensor));
    return lent.back().second;
  };
  for (size_t place = stack->size() - op.schema().arguments().size(); place < stack->size(); ++place) {
    auto& value = (*stack)[place];
    if (value.isTensor()) {
      value = lend(value.toTensor());
    } else if (value.isTensorList()) {
      auto list = value.toTensorVector();
      for (auto& tensor : list) tensor = lend(tensor);
      value = c10::IValue(c10::List<Tensor>(list));
    } else if (value.isOptionalTensorList()) {
      c10::List<std::optional<Tensor>> list;
      for (const auto& given : value.toOptionalTensorVector()) {
        list.push_back(given ? std::optional<Tensor>(lend(*given)) : given);
      }
      value = c10::IValue(list);
    } else if (value.isDevice() && value.toDevice().type() == DEVICE) {
      here = true;
      value = c10::Device(c10::kCPU);
    } else if (value.isGenerator() && value.toGenerator().defined()) {
      auto ours = value.toGenerator();
      TORCH_CHECK(ours.device().type() == DEVICE, name, ": expected a generator of this device, found one of ",
                  ours.device());
      auto stand_in = at::make_generator<at::CPUGeneratorImpl>(0);
      stand_in.set_state(ours.get_state());
      draws.emplace_back(ours, stand_in);
      value = stand_in;
    }
  }
  TORCH_CHECK(!(here && elsewhere) || may_mix(name), name, ": expected all tensors to be on the same device, found ",
              "some on this one and some on the CPU");
  op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
  for (auto& [ours, stand_in] : draws) ours.set_state(stand_in.get_state());

  auto take = [&](const Tensor& tensor) -> Tensor {
    if (!here || !tensor.defined() || !tensor.device().is_cpu()) return tensor;
    for (auto& [ours, theirs] : lent) {
      if (!theirs.is_same(tensor)) continue;
      if (ours.sizes() != tensor.sizes() || ours.storage().data() != tensor.storage().data()) {  // resized
        resize_to(ours, tensor.sizes(), std::nullopt);
        host(ours).copy_(tensor);
      }
      return ours;
    }
    Tensor made = empty_strided(tensor.sizes(), tensor.strides(), tensor.scalar_type(), {}, {}, {});
    host(made).copy_(tensor);
    return made;
  };
  for (size_t place = stack->size() - op.schema().returns().size(); place < stack->size(); ++place) {
    auto& value = (*stack)[place];
    if (value.isTensor()) {
      value = take(value.toTensor());
    } else if (value.isTensorList()) {
      auto list = value.toTensorVector();
      for (auto& tensor : list) tensor = take(tensor);
      value = c10::IValue(c10::List<Tensor>(list));
    }
  }
}

}  // namespace

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) { library.fallback(torch::CppFunction::makeFromBoxedFunction<&compute>()); }

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", &empty);
  library.impl("empty_strided", &empty_strided);
  library.impl("_copy_from", &copy_from);
  library.impl("_copy_from_and_resize", &copy_from_and_resize);
  library.impl("_local_scalar_dense", &item);
  library.impl("resize_", &resize_to);
  library.impl("set_.source_Storage", &set_storage);
  library.impl("set_.source_Storage_storage_offset", &set_places);
  library.impl("set_.source_Tensor", &set_tensor);
  library.impl("as_strided", &at::cpu::as_strided);
  library.impl("view", &at::cpu::view);
  library.impl("_reshape_alias", &at::cpu::_reshape_alias);
  library.impl("unfold", &at::cpu::unfold);
}

TORCH_LIBRARY_IMPL(_, AutocastPrivateUse1, library) { library.fallback(torch::CppFunction::makeFallthrough()); }

TORCH_LIBRARY_IMPL(aten, AutocastPrivateUse1, m) {
  KERNEL_PRIVATEUSEONE(linear, lower_precision_fp)
  KERNEL_PRIVATEUSEONE(matmul, lower_precision_fp)
  KERNEL_PRIVATEUSEONE(mm, lower_precision_fp)
  KERNEL_PRIVATEUSEONE(bmm, lower_precision_fp)
  KERNEL_PRIVATEUSEONE(addmm, lower_precision_fp)
  KERNEL_PRIVATEUSEONE(scaled_dot_product_attention, lower_precision_fp)
  KERNEL_PRIVATEUSEONE(log_softmax, int, fp32)
  KERNEL_PRIVATEUSEONE(softmax, int, fp32)
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
  at::RegisterPrivateUse1HooksInterface(new Hooks());
  module.def("counts", [] { return counts; });
}
