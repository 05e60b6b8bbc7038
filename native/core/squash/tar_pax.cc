// SPDX-License-Identifier: Apache-2.0
#include "tar_pax.hh"

#include <algorithm>
#include <charconv>

namespace berth::squash {
namespace {

constexpr std::string_view XATTR_PREFIX = "SCHILY.xattr.";
constexpr std::string_view SPARSE_PREFIX = "GNU.sparse.";

Result<int64_t> parseBase256(std::span<const uint8_t> field) {
  const bool negative = (field[0] & 0x40) != 0;
  uint64_t value = negative ? ~uint64_t{0} : 0;
  for (size_t i = 0; i < field.size(); i++) {
    const uint8_t byte = i > 0 ? field[i] : uint8_t(negative ? field[i] | 0x80 : field[i] & 0x7f);
    const uint64_t top = value >> 55;
    if (top != 0 && top != 0x1ff)
      return tarDamage("a base-256 number is too large");
    value = value << 8 | byte;
  }
  if ((int64_t(value) < 0) != negative)
    return tarDamage("a base-256 number is too large");
  return int64_t(value);
}

} // namespace

Error tarDamage(std::string message) {
  return fail(EBADMSG, "tar", {}, "corrupt tar: " + std::move(message));
}

Result<int64_t> parseField(std::span<const uint8_t> field) {
  if ((field[0] & 0x80) != 0)
    return parseBase256(field);
  std::string_view text(reinterpret_cast<const char *>(field.data()), field.size());
  const auto first = text.find_first_not_of(std::string_view(" \0", 2));
  if (first == std::string_view::npos)
    return int64_t{0};
  text.remove_prefix(first);
  text = text.substr(0, text.find_first_of(std::string_view(" \0", 2)));
  uint64_t value = 0;
  for (const char digit : text) {
    if (digit < '0' || digit > '7')
      return tarDamage("a number in a header is not octal");
    value = value << 3 | uint64_t(digit - '0');
  }
  return int64_t(value);
}

Result<int64_t> parseDecimal(std::string_view text, bool fraction) {
  int64_t value = 0;
  const char *end = text.data() + text.size();
  const auto [stop, failed] = std::from_chars(text.data(), end, value);
  if (failed != std::errc())
    return tarDamage("a number in an extended header is not decimal");
  if (stop == end)
    return value;
  const std::string_view rest(stop + 1, size_t(end - stop - 1));
  if (!fraction || *stop != '.' || rest.find_first_not_of("0123456789") != std::string_view::npos)
    return tarDamage("a number in an extended header is not decimal");
  const bool below = text.front() == '-' && rest.find_first_not_of('0') != std::string_view::npos;
  return below && value > INT64_MIN ? value - 1 : value;
}

Result<> PaxValues::read(std::string_view text) {
  while (!text.empty()) {
    size_t length = 0;
    const auto [stop, failed] = std::from_chars(text.data(), text.data() + text.size(), length);
    const auto digits = size_t(stop - text.data());
    if (failed != std::errc() || digits + 3 > length || length > text.size() || *stop != ' ' ||
        text[length - 1] != '\n')
      return tarDamage("bad record in an extended header");
    const auto record = text.substr(digits + 1, length - digits - 2);
    const auto equals = record.find('=');
    if (equals == 0 || equals == std::string_view::npos)
      return tarDamage("bad record in an extended header");
    if (auto done = set(record.substr(0, equals), record.substr(equals + 1)); !done)
      return done;
    text.remove_prefix(length);
  }
  if (partOffset_)
    return tarDamage("a sparse part has no size");
  return Nothing{};
}

Result<> PaxValues::set(std::string_view key, std::string_view value) {
  const auto setText = [&](std::optional<std::string> &field) -> Result<> {
    if (value.find('\0') != std::string_view::npos)
      return tarDamage("a path holds a NUL byte");
    field = value.empty() ? std::nullopt : std::optional<std::string>(value);
    return Nothing{};
  };
  const auto setNumber = [&](std::optional<int64_t> &field) -> Result<> {
    if (value.empty()) {
      field.reset();
      return Nothing{};
    }
    auto number = parseDecimal(value, key == "mtime");
    if (!number)
      return number.error();
    field = *number;
    return Nothing{};
  };
  if (key == "path")
    return setText(path);
  if (key == "linkpath")
    return setText(linkPath);
  if (key == "size")
    return setNumber(size);
  if (key == "uid")
    return setNumber(uid);
  if (key == "gid")
    return setNumber(gid);
  if (key == "mtime")
    return setNumber(mtime);
  if (key == "SCHILY.devmajor")
    return setNumber(major);
  if (key == "SCHILY.devminor")
    return setNumber(minor);
  if (key == "SCHILY.acl.access")
    return setText(acl);
  if (key.starts_with(SPARSE_PREFIX))
    return setSparse(key.substr(SPARSE_PREFIX.size()), value);
  if (key.starts_with(XATTR_PREFIX)) {
    const auto name = key.substr(XATTR_PREFIX.size());
    std::erase_if(xattrs, [&](const Xattr &other) { return other.name == name; });
    xattrs.push_back({std::string(name), std::string(value)});
  }
  return Nothing{};
}

Result<> PaxValues::setSparse(std::string_view key, std::string_view value) {
  if (key == "name") {
    if (value.find('\0') != std::string_view::npos)
      return tarDamage("a path holds a NUL byte");
    sparseName = std::string(value);
    return Nothing{};
  }
  if (key == "map") {
    sparse = true;
    sparseParts.clear();
    std::optional<uint64_t> offset;
    while (!value.empty()) {
      const auto comma = std::min(value.find(','), value.size());
      auto number = parseDecimal(value.substr(0, comma));
      if (!number || *number < 0)
        return tarDamage("bad sparse map");
      value.remove_prefix(std::min(comma + 1, value.size()));
      if (offset)
        sparseParts.push_back({*offset, uint64_t(*number)});
      offset = offset ? std::nullopt : std::optional<uint64_t>(*number);
    }
    return offset ? Result<>(tarDamage("bad sparse map")) : Result<>(Nothing{});
  }
  auto number = parseDecimal(value);
  if (!number || *number < 0)
    return tarDamage("bad sparse record");
  if (key == "major")
    sparseMapInContent = *number == 1;
  else if (key == "size" || key == "realsize") {
    sparse = true;
    sparseSize = *number;
  } else if (key == "offset")
    partOffset_ = uint64_t(*number);
  else if (key == "numbytes") {
    if (!partOffset_)
      return tarDamage("a sparse part has no offset");
    sparse = true;
    sparseParts.push_back({*partOffset_, uint64_t(*number)});
    partOffset_.reset();
  }
  return Nothing{};
}

} // namespace berth::squash
