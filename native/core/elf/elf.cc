// SPDX-License-Identifier: Apache-2.0
#include "elf.hh"

#include <algorithm>
#include <elf.h>

namespace berth::elf {
namespace {

constexpr unsigned kSegmentsMax = 256;
constexpr uint64_t kDynamicMax = 4096;
/** Names are read in pieces of this size where the whole table is not wanted. */
constexpr size_t kPiece = 128;

} // namespace

template <typename T> bool File::get(uint64_t offset, T &value) {
  return bytes_.read(offset, {reinterpret_cast<uint8_t *>(&value), sizeof value});
}

std::optional<File> File::open(Bytes &bytes, Part part) {
  File file(bytes, part);
  if (!file.readHead())
    return std::nullopt;
  return file;
}

bool File::readHead() {
  unsigned char ident[EI_NIDENT];
  if (!get(0, ident) || std::memcmp(ident, ELFMAG, SELFMAG) != 0)
    return false;
  library_.bits = ident[EI_CLASS] == ELFCLASS64 ? 64 : 32;
  Elf64_Ehdr head;
  if (ident[EI_DATA] != ELFDATA2LSB || !get(0, head))
    return false;
  // e_type and e_machine stand at the same place in both classes.
  library_.machine = head.e_machine;
  library_.executable = head.e_type == ET_EXEC;
  if (library_.bits != 64)
    return true;
  if (head.e_type != ET_EXEC && head.e_type != ET_DYN)
    return false;
  return readSegments(head.e_phoff, head.e_phnum, head.e_phentsize);
}

bool File::readSegments(uint64_t offset, unsigned count, unsigned size) {
  if (count > kSegmentsMax || size != sizeof(Elf64_Phdr))
    return false;
  uint64_t dynamic = 0, dynamicSize = 0;
  for (unsigned i = 0; i < count; i++) {
    Elf64_Phdr segment;
    if (offset > bytes_.size() || !get(offset + uint64_t{i} * size, segment))
      return false;
    if (segment.p_type == PT_LOAD)
      segments_.push_back({segment.p_offset, segment.p_vaddr, segment.p_filesz});
    if (segment.p_type == PT_INTERP)
      library_.executable = true;
    if (segment.p_type == PT_DYNAMIC) {
      dynamic = segment.p_offset;
      dynamicSize = segment.p_filesz;
    }
  }
  return dynamicSize == 0 || readDynamic(dynamic, dynamicSize);
}

bool File::readDynamic(uint64_t offset, uint64_t size) {
  std::vector<Elf64_Dyn> entries(std::min(size / sizeof(Elf64_Dyn), kDynamicMax));
  const auto whole =
      std::span(reinterpret_cast<uint8_t *>(entries.data()), entries.size() * sizeof(Elf64_Dyn));
  if (!bytes_.read(offset, whole))
    return false;
  for (const Elf64_Dyn &entry : entries) {
    if (entry.d_tag == DT_NULL)
      break;
    take(static_cast<uint64_t>(entry.d_tag), entry.d_un.d_val);
  }
  for (const uint64_t at : neededAt_)
    library_.needed.push_back(stringAt(at));
  if (part_ == Part::needed)
    return true;
  library_.soname = stringAt(sonameAt_);
  library_.rpath = stringAt(rpathAt_);
  library_.runpath = stringAt(runpathAt_);
  readVersions();
  return true;
}

void File::take(uint64_t tag, uint64_t value) {
  switch (tag) {
  case DT_NEEDED:
    if (neededAt_.size() < kNeededMax)
      neededAt_.push_back(value);
    return;
  case DT_SONAME:
    sonameAt_ = value;
    return;
  case DT_RPATH:
    rpathAt_ = value;
    return;
  case DT_RUNPATH:
    runpathAt_ = value;
    return;
  case DT_STRSZ:
    stringsSize_ = value;
    return;
  case DT_VERNEEDNUM:
    needs_.count = value;
    return;
  case DT_VERDEFNUM:
    definitions_.count = value;
    return;
  case DT_STRTAB:
    strings_ = value;
    break;
  case DT_SYMTAB:
    symbols_ = value;
    break;
  case DT_VERNEED:
    needs_.address = value;
    break;
  case DT_VERDEF:
    definitions_.address = value;
    break;
  case DT_HASH:
  case DT_GNU_HASH:
  case DT_VERSYM:
  case DT_RELA:
  case DT_REL:
  case DT_JMPREL:
  case DT_INIT:
    break;
  default:
    return;
  }
  tables_.push_back(value);
}

std::optional<uint64_t> File::offsetOf(uint64_t address) const {
  for (const Segment &segment : segments_)
    if (address >= segment.address && address - segment.address < segment.size)
      return segment.offset + (address - segment.address);
  return std::nullopt;
}

/** Index 0 is the empty name. */
std::string File::stringAt(uint64_t index) {
  const auto table = offsetOf(strings_);
  std::string text;
  if (index == 0 || !table || index >= stringsSize_)
    return text;
  char piece[kPiece];
  while (text.size() < kNameMax) {
    const uint64_t left = stringsSize_ - index;
    const size_t count = std::min<uint64_t>(left, kPiece);
    if (count == 0 || !bytes_.read(*table + index, {reinterpret_cast<uint8_t *>(piece), count}))
      return {};
    const size_t length = strnlen(piece, count);
    text.append(piece, length);
    if (length < count)
      return text;
    index += count;
  }
  return {};
}

bool File::needsOne(const std::vector<std::string> &prefixes) const {
  return std::ranges::any_of(library_.needed, [&](const std::string &name) {
    return std::ranges::any_of(prefixes, [&](const std::string &prefix) { return name.starts_with(prefix); });
  });
}

void File::readVersions() {
  readNeeds();
  readDefinitions();
}

void File::readNeeds() {
  auto at = offsetOf(needs_.address);
  if (needs_.address == 0 || !at)
    return;
  for (uint64_t file = 0; file < std::min<uint64_t>(needs_.count, kVersionsMax); file++) {
    Elf64_Verneed need;
    if (!get(*at, need))
      return;
    uint64_t entryAt = *at + need.vn_aux;
    for (unsigned i = 0; i < need.vn_cnt && library_.versionsNeeded.size() < kVersionsMax; i++) {
      Elf64_Vernaux entry;
      if (!get(entryAt, entry))
        return;
      library_.versionsNeeded.push_back(stringAt(entry.vna_name));
      if (entry.vna_next == 0)
        break;
      entryAt += entry.vna_next;
    }
    if (need.vn_next == 0)
      return;
    at = *at + need.vn_next;
  }
}

/** The first definition names the file itself. */
void File::readDefinitions() {
  auto at = offsetOf(definitions_.address);
  if (definitions_.address == 0 || !at)
    return;
  for (uint64_t i = 0; i < std::min<uint64_t>(definitions_.count, kVersionsMax); i++) {
    Elf64_Verdef definition;
    Elf64_Verdaux name;
    if (!get(*at, definition) || !get(*at + definition.vd_aux, name))
      return;
    if ((definition.vd_flags & VER_FLG_BASE) == 0)
      library_.versionsProvided.push_back(stringAt(name.vda_name));
    if (definition.vd_next == 0)
      return;
    at = *at + definition.vd_next;
  }
}

bool File::symbols(const std::function<void(std::string_view, bool)> &take) {
  const auto symbolsAt = offsetOf(symbols_);
  const auto stringsAt = offsetOf(strings_);
  if (!symbolsAt || !stringsAt || stringsSize_ == 0 || stringsSize_ > kStringsMax)
    return false;
  // No tag says how many there are; the table ends where the next one begins.
  uint64_t end = UINT64_MAX;
  for (const uint64_t table : tables_)
    if (table > symbols_)
      end = std::min(end, table);
  const uint64_t count = (end - symbols_) / sizeof(Elf64_Sym);
  if (end == UINT64_MAX || count > kSymbolsMax || *symbolsAt > bytes_.size() ||
      count * sizeof(Elf64_Sym) > bytes_.size() - *symbolsAt || *stringsAt > bytes_.size() ||
      stringsSize_ > bytes_.size() - *stringsAt)
    return false;
  std::vector<Elf64_Sym> symbols(count);
  std::string names(stringsSize_, '\0');
  if (!bytes_.read(*symbolsAt, {reinterpret_cast<uint8_t *>(symbols.data()), count * sizeof(Elf64_Sym)}) ||
      !bytes_.read(*stringsAt, {reinterpret_cast<uint8_t *>(names.data()), names.size()}))
    return false;
  for (const Elf64_Sym &symbol : symbols) {
    const auto binding = ELF64_ST_BIND(symbol.st_info);
    if (symbol.st_name == 0 || symbol.st_name >= names.size() || binding == STB_LOCAL)
      continue;
    const size_t length =
        strnlen(names.data() + symbol.st_name, std::min(names.size() - symbol.st_name, kNameMax + 1));
    if (length > 0 && length <= kNameMax)
      take({names.data() + symbol.st_name, length}, symbol.st_shndx != SHN_UNDEF);
  }
  return true;
}

} // namespace berth::elf
