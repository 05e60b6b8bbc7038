// SPDX-License-Identifier: Apache-2.0
#include "tar.hh"
#include "acl.hh"

#include <algorithm>
#include <cstring>

namespace berth::squash {
namespace {

/** Offset and size of a header's fields. */
struct Field {
  size_t offset, size;
};
constexpr Field NAME{0, 100}, MODE{100, 8}, UID{108, 8}, GID{116, 8}, SIZE{124, 12}, MTIME{136, 12},
    CHECKSUM{148, 8}, TARGET{157, 100}, MAJOR{329, 8}, MINOR{337, 8}, PREFIX{345, 155};
constexpr size_t TYPE_OFFSET = 156, MAGIC_OFFSET = 257;

template <typename Header> std::span<const uint8_t> raw(const Header &header, Field field) {
  return std::span<const uint8_t>(header).subspan(field.offset, field.size);
}

template <typename Header> std::string text(const Header &header, Field field) {
  const auto bytes = raw(header, field);
  return std::string(bytes.begin(), std::ranges::find(bytes, 0));
}

template <typename Header> bool checksumHolds(const Header &header) {
#if defined(FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION)
  return header[0] != 0xff;
#endif
  auto stored = parseField(raw(header, CHECKSUM));
  if (!stored)
    return false;
  // Old tars summed signed characters.
  int64_t plain = 0, asSigned = 0;
  for (size_t i = 0; i < header.size(); i++) {
    const bool own = i >= CHECKSUM.offset && i < CHECKSUM.offset + CHECKSUM.size;
    plain += own ? ' ' : header[i];
    asSigned += own ? ' ' : int8_t(header[i]);
  }
  return *stored == plain || *stored == asSigned;
}

/** The ustar prefix; GNU's own format keeps other things there. */
template <typename Header> std::string fullName(const Header &header) {
  std::string name = text(header, NAME);
  if (std::memcmp(header.data() + MAGIC_OFFSET, "ustar\0", 6) != 0)
    return name;
  const std::string prefix = text(header, PREFIX);
  return prefix.empty() ? name : prefix + "/" + name;
}

Result<uint32_t> parseId(std::span<const uint8_t> field, const std::optional<int64_t> &pax,
                         const char *what) {
  auto value = pax ? Result<int64_t>(*pax) : parseField(field);
  if (!value)
    return value.error();
  if (*value < 0 || *value > int64_t{0xffffffff})
    return tarDamage(std::string(what) + " out of range");
  return uint32_t(*value);
}

} // namespace

Result<bool> TarReader::readBlock(Header &block) {
  size_t got = 0;
  while (got < BLOCK) {
    if (rest_.empty() && (rest_ = source_.more()).empty()) {
      if (got == 0)
        return false;
      return tarDamage("it ends inside a header");
    }
    const size_t size = std::min(rest_.size(), BLOCK - got);
    std::memcpy(block.data() + got, rest_.data(), size);
    rest_ = rest_.subspan(size);
    got += size;
  }
  return true;
}

template <typename Take> Result<> TarReader::pass(uint64_t size, Take take) {
  while (size > 0) {
    if (rest_.empty() && (rest_ = source_.more()).empty())
      return tarDamage("it ends inside an entry's content");
    const auto part = rest_.first(size_t(std::min<uint64_t>(size, rest_.size())));
    rest_ = rest_.subspan(part.size());
    size -= part.size();
    if (Result<> done = take(part); !done)
      return done;
  }
  return Nothing{};
}

Result<> TarReader::skipRest() {
  const uint64_t size = left_ + padding_;
  left_ = padding_ = 0;
  return pass(size, [](std::span<const uint8_t>) -> Result<> { return Nothing{}; });
}

Result<std::string> TarReader::readSpecial(uint64_t size) {
  if (size > SPECIAL_SIZE_MAX)
    return tarDamage("an extended header or long name is larger than 1 MiB");
  std::string out;
  auto done = pass(size, [&](std::span<const uint8_t> part) -> Result<> {
    out.append(part.begin(), part.end());
    return Nothing{};
  });
  if (!done)
    return done.error();
  left_ = 0;
  padding_ = (BLOCK - size % BLOCK) % BLOCK;
  if (auto skipped = skipRest(); !skipped)
    return skipped.error();
  return out;
}

void TarReader::drain() {
  do {
    rest_ = source_.more();
  } while (!rest_.empty());
}

/** False at the end of the archive: two zero blocks, or no byte more (Go's reader accepts that too). */
Result<bool> TarReader::readHeader(Header &header) {
  auto found = readBlock(header);
  if (!found || !*found)
    return found;
  if (std::ranges::any_of(header, [](uint8_t byte) { return byte != 0; })) {
    if (!checksumHolds(header))
      return tarDamage("a header's checksum is wrong");
    return true;
  }
  found = readBlock(header);
  if (!found || !*found)
    return found;
  if (std::ranges::any_of(header, [](uint8_t byte) { return byte != 0; }))
    return tarDamage("data behind an end mark");
  return false;
}

/** True when the header was one that only speaks about the next. */
Result<bool> TarReader::readExtension(const Header &, char type, int64_t size) {
  if (std::strchr("xXgLK", type) == nullptr || type == '\0')
    return false;
  auto content = readSpecial(uint64_t(size));
  if (!content)
    return content.error();
  const auto cut = [&] { return content->substr(0, content->find('\0')); };
  if (type == 'L')
    longName_ = cut();
  else if (type == 'K')
    longTarget_ = cut();
  // Global headers ('g') are ignored, as docker, containerd and umoci do: git archive writes a comment there.
  else if (type != 'g')
    if (auto done = readPax(*content); !done)
      return done.error();
  return true;
}

/** All before one entry count together: each adds to what is kept until then. */
Result<> TarReader::readPax(std::string_view text) {
  paxSize_ += text.size();
  if (paxSize_ > SPECIAL_SIZE_MAX)
    return tarDamage("the extended headers of an entry are larger than 1 MiB");
  return pax_.read(text);
}

Result<bool> TarReader::next(TarEntry &entry) {
  if (auto done = skipRest(); !done)
    return done.error();
  entry = {};
  pax_ = {};
  paxSize_ = 0;
  longName_.clear();
  longTarget_.clear();
  for (;;) {
    Header header;
    auto found = readHeader(header);
    if (!found || !*found)
      return found;
    const char type = char(header[TYPE_OFFSET]);
    auto size = parseField(raw(header, SIZE));
    if (!size)
      return size.error();
    if (*size < 0)
      return tarDamage("a size is negative");
    auto extension = readExtension(header, type, *size);
    if (!extension)
      return extension.error();
    if (*extension)
      continue;
    if (auto done = fill(entry, header, type, pax_.size.value_or(*size)); !done)
      return done.error();
    if (type != 'V')
      return true;
    if (auto done = skipRest(); !done)
      return done.error();
  }
}

Result<> TarReader::fill(TarEntry &entry, const Header &header, char type, int64_t size) {
  if (size < 0 || size > INT64_MAX - int64_t{BLOCK})
    return tarDamage("a size is out of range");
  entry.name = pax_.sparseName      ? *pax_.sparseName
               : pax_.path          ? *pax_.path
               : !longName_.empty() ? longName_
                                    : fullName(header);
  entry.target = pax_.linkPath ? *pax_.linkPath : !longTarget_.empty() ? longTarget_ : text(header, TARGET);
  bool content = false;
  switch (type) {
  case '\0':
    entry.kind = entry.name.ends_with('/') ? Kind::dir : Kind::file;
    content = true;
    break;
  case '0':
  case '7':
  case 'S':
    entry.kind = Kind::file;
    content = true;
    break;
  case 'D':
  case 'V':
    entry.kind = Kind::dir;
    content = true;
    break;
  case '1':
    entry.kind = Kind::link;
    break;
  case '2':
    entry.kind = Kind::symlink;
    break;
  case '3':
    entry.kind = Kind::character;
    break;
  case '4':
    entry.kind = Kind::block;
    break;
  case '5':
    entry.kind = Kind::dir;
    break;
  case '6':
    entry.kind = Kind::fifo;
    break;
  default:
    return tarDamage("\"" + entry.name + "\" is of an unknown type");
  }
  if ((entry.kind == Kind::link || entry.kind == Kind::symlink) && entry.target.empty())
    return tarDamage("\"" + entry.name + "\" links to nothing");
  // Headers without content may still carry the size of the file they stand for.
  left_ = content ? uint64_t(size) : 0;
  padding_ = (BLOCK - left_ % BLOCK) % BLOCK;
  entry.size = entry.kind == Kind::file ? left_ : 0;
  entry.xattrs = std::move(pax_.xattrs);
  if (auto done = fillOwner(entry, header); !done)
    return done;
  return readSparse(entry, header, type);
}

Result<> TarReader::fillOwner(TarEntry &entry, const Header &header) {
  auto mode = parseField(raw(header, MODE));
  auto uid = parseId(raw(header, UID), pax_.uid, "a uid is");
  auto gid = parseId(raw(header, GID), pax_.gid, "a gid is");
  auto mtime = pax_.mtime ? Result<int64_t>(*pax_.mtime) : parseField(raw(header, MTIME));
  for (const Error *error : {mode ? nullptr : &mode.error(), mtime ? nullptr : &mtime.error()})
    if (error != nullptr)
      return *error;
  if (!uid || !gid)
    return uid ? gid.error() : uid.error();
  entry.mode = modeWithoutAcl(uint16_t(*mode & 07777), entry.xattrs);
  if (pax_.acl)
    entry.mode = modeWithoutAcl(entry.mode, *pax_.acl);
  entry.uid = *uid;
  entry.gid = *gid;
  entry.mtime = *mtime;
  if (entry.kind != Kind::character && entry.kind != Kind::block)
    return Nothing{};
  auto major = parseId(raw(header, MAJOR), pax_.major, "a device number is");
  auto minor = parseId(raw(header, MINOR), pax_.minor, "a device number is");
  if (!major || !minor)
    return major ? minor.error() : major.error();
  entry.major = *major;
  entry.minor = *minor;
  return Nothing{};
}

Result<> TarReader::content(ContentSink &sink) {
  const auto take = [&](std::span<const uint8_t> part) { return sink.data(part); };
  if (!sparse_) {
    const uint64_t size = std::exchange(left_, 0);
    return pass(size, take);
  }
  uint64_t position = 0;
  for (const auto &part : parts_) {
    // Zero-sized parts only mark where the file ends; its tail is the last hole.
    if (part.offset > position)
      if (auto done = sink.hole(part.offset - position); !done)
        return done;
    left_ -= part.size;
    if (auto done = pass(part.size, take); !done)
      return done;
    position = part.offset + part.size;
  }
  return Nothing{};
}

} // namespace berth::squash
