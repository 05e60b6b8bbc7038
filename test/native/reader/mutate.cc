// SPDX-License-Identifier: Apache-2.0
/**
 * mutate IMAGE MUTANTS SEED DIRECTORY: damages the image in as many ways and holds that each mutant is
 * refused or wholly readable. First each byte of the superblock, then bytes of the metadata evenly, for half
 * of them, then random damage. Some accepted mutants are left in DIRECTORY, to be compared with what the
 * kernel makes of them.
 */
#include "exercise.hh"

#include "core/squash/read_layout.hh"

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fcntl.h>
#include <fstream>
#include <iterator>
#include <random>

using namespace berth::unsquash;

namespace {

/** Of processor time: far more than the limits allow even under sanitizers. */
constexpr std::clock_t kOneMax = 5 * CLOCKS_PER_SEC;
constexpr size_t kKeptMax = 12;
/** Mutants of a byte that is swept. */
constexpr size_t kValues = 7;

class Mutation {
public:
  Mutation(std::vector<uint8_t> image, size_t mutants, unsigned seed, std::string directory)
      : original_(std::move(image)), directory_(std::move(directory)), random_(seed), mutantsMax_(mutants) {}

  int run() {
    if (!exerciseImage(original_, 0).verified)
      return complain("the image itself is refused");
    sweep(0, kSuperSize, 1);
    const uint64_t tables = le64(&original_[64]), end = std::min(le64(&original_[40]), original_.size());
    sweep(tables, end, 1 + (end - tables) * kValues / (mutantsMax_ / 2 + 1));
    while (mutants_ < mutantsMax_ && failed_ == 0)
      damageAtRandom();
    std::printf("{\"mutants\":%zu,\"refused\":%zu,\"accepted\":%zu}\n", mutants_, refused_,
                mutants_ - refused_);
    return failed_ == 0 ? 0 : 1;
  }

private:
  int complain(const std::string &what) {
    std::fprintf(stderr, "%s\n", what.c_str());
    failed_++;
    return 1;
  }

  /** The values that lie at edges of checks, at each byte or at some. */
  void sweep(uint64_t from, uint64_t to, uint64_t stride) {
    for (uint64_t at = from; at < to && failed_ == 0; at += stride) {
      const uint8_t was = original_[at];
      const int values[kValues] = {was ^ 1, was ^ 0x80, was + 1, was - 1, 0, 0xff, was ^ 0x10};
      for (const int value : values) {
        std::vector<uint8_t> mutant = original_;
        mutant[at] = static_cast<uint8_t>(value);
        if (mutant[at] != was)
          check(mutant, "byte " + std::to_string(at) + " = " + std::to_string(mutant[at]));
      }
    }
  }

  void damageAtRandom() {
    std::vector<uint8_t> mutant = original_;
    const size_t wounds = 1 + random_() % 4;
    // Half of the wounds where the structures are.
    const uint64_t tables = le64(&original_[64]);
    for (size_t i = 0; i < wounds; i++) {
      size_t at = random_() % mutant.size();
      if (random_() % 2 == 0)
        at = tables + random_() % (mutant.size() - tables);
      const size_t length = std::min<size_t>(1 + random_() % 8, mutant.size() - at);
      const size_t from = random_() % (mutant.size() - length);
      for (size_t k = 0; k < length; k++)
        mutant[at + k] = i % 2 == 0 ? static_cast<uint8_t>(random_()) : original_[from + k];
    }
    if (random_() % 16 == 0)
      mutant.resize(random_() % mutant.size());
    check(mutant, "random mutant " + std::to_string(mutants_));
  }

  void check(const std::vector<uint8_t> &mutant, const std::string &what) {
    mutants_++;
    const std::clock_t start = std::clock();
    const Exercise result = exerciseImage(mutant, mutants_ % 64 == 0 ? 2 : 0);
    if (std::clock() - start > kOneMax)
      complain(what + ": took too long");
    if (!result.contradiction.empty())
      complain(what + ": accepted, but " + result.contradiction);
    if (!result.verified)
      refused_++;
    else if (kept_ < kKeptMax && random_() % 8 == 0)
      keep(mutant);
    if (failed_ != 0)
      keep(mutant);
  }

  void keep(const std::vector<uint8_t> &mutant) {
    std::ofstream file(directory_ + "/mutant-" + std::to_string(kept_++), std::ios::binary);
    file.write(reinterpret_cast<const char *>(mutant.data()), static_cast<std::streamsize>(mutant.size()));
  }

  const std::vector<uint8_t> original_;
  const std::string directory_;
  std::mt19937 random_;
  const size_t mutantsMax_;
  size_t mutants_ = 0;
  size_t refused_ = 0;
  size_t kept_ = 0;
  size_t failed_ = 0;
};

} // namespace

int main(int argc, char **argv) {
  if (argc < 5)
    return 2;
  std::ifstream file(argv[1], std::ios::binary);
  std::vector<uint8_t> image((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  return Mutation(std::move(image), std::strtoul(argv[2], nullptr, 10),
                  static_cast<unsigned>(std::atoi(argv[3])), argv[4])
      .run();
}
