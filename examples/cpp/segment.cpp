// Segments a picture by a package that `tools/export.py --format aoti` wrote, without Python:
//   segment network.pt2 _C_cpu.abi3.so photo.ppm ids.pgm
// photo.ppm is a binary PPM (P6) of the size that the network was exported for; ids.pgm gets a
// class id for each pixel.

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <dlfcn.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/library.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>

using torch::inductor::AOTIModelPackageLoader;

// The operators that the package calls. Their kernels are in the library; the schemas, which Python
// defines where Python runs, come from the package.
static void define_operators(const std::string& package, const std::string& library) {
  const auto metadata = AOTIModelPackageLoader::load_metadata_from_package(package, "model");
  const auto schemas = metadata.find("ddf_seg_operators");
  if (schemas == metadata.end())
    throw std::runtime_error(package + ": expected a package of tools/export.py --format aoti");
  // Never destroyed: the operators must outlive the network.
  static auto* operators =
      new torch::Library(torch::Library::DEF, "ddf_seg", std::nullopt, __FILE__, __LINE__);
  std::istringstream lines(schemas->second);
  for (std::string schema; std::getline(lines, schema);) operators->def(schema.c_str());
  if (dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr)
    throw std::runtime_error(dlerror());
}

// (1, H, W, 3) in the order blue, green, red, as OpenCV has it
static at::Tensor read_picture(const std::string& name) {
  std::ifstream file(name, std::ios::binary);
  std::string kind;
  std::int64_t width = 0, height = 0, largest = 0;
  file >> kind >> width >> height >> largest;
  file.get();
  if (!file || kind != "P6" || largest != 255 || width < 1 || height < 1)
    throw std::runtime_error(name + ": expected a binary PPM (P6) of 8 bits");
  at::Tensor rgb = at::empty({1, height, width, 3}, at::kByte);
  if (!file.read(static_cast<char*>(rgb.data_ptr()), rgb.numel()))
    throw std::runtime_error(name + ": the file ends too early");
  return rgb.flip(3).contiguous();
}

static void write_ids(const at::Tensor& ids, const std::string& name) {
  std::ofstream file(name, std::ios::binary);
  file << "P5\n" << ids.size(2) << ' ' << ids.size(1) << "\n255\n";
  const at::Tensor bytes = ids.contiguous();
  file.write(static_cast<const char*>(bytes.data_ptr()), bytes.numel());
  if (!file.flush()) throw std::runtime_error(name + ": cannot be written");
}

int main(int count, char** arguments) {
  if (count != 5) {
    std::cerr << "usage: " << arguments[0] << " NETWORK.pt2 _C_cpu.abi3.so PHOTO.ppm IDS.pgm\n";
    return 2;
  }
  // Without it, a picture of another size gets something, too.
  setenv("AOTI_RUNTIME_CHECK_INPUTS", "1", 1);
  try {
    c10::InferenceMode guard;
    define_operators(arguments[1], arguments[2]);
    AOTIModelPackageLoader network(arguments[1]);
    const at::Tensor ids = network.run({read_picture(arguments[3])}).at(0);
    if (ids.scalar_type() != at::kByte || ids.dim() != 3)
      throw std::runtime_error("expected a network with class ids (--output ids), at most 256");
    write_ids(ids, arguments[4]);
  } catch (const std::exception& error) {
    // The rest is where in torch it happened.
    const std::string message = error.what();
    std::cerr << "error: " << message.substr(0, message.find("\nException raised")) << '\n';
    return 1;
  }
  return 0;
}
