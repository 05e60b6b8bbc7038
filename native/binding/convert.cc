// SPDX-License-Identifier: Apache-2.0
#include "convert.hh"

#include <cstring>
#include <fcntl.h>
#include <uv.h>

namespace berth::binding {

/** libuv names most errors; the few that it does not know are those of file systems and images. */
static std::string nameOf(int code) {
#if defined(__GLIBC__) && (__GLIBC__ > 2 || (__GLIBC__ == 2 && __GLIBC_MINOR__ >= 32))
  if (const char *name = strerrorname_np(code))
    return name;
#endif
  return code == EUCLEAN   ? "EUCLEAN"
         : code == EBADMSG ? "EBADMSG"
         : code == ESTALE  ? "ESTALE"
                           : uv_err_name(-code);
}

Napi::Error toError(Napi::Env env, const Error &error) {
  const std::string name = nameOf(error.code);
  std::string text = name + ": " + (error.message.empty() ? strerror(error.code) : error.message);
  if (!error.syscall.empty())
    text += ", " + error.syscall;
  if (!error.path.empty())
    text += " '" + error.path + "'";
  Napi::Error made = Napi::Error::New(env, text);
  made.Set("code", Napi::String::New(env, name));
  made.Set("errno", Napi::Number::New(env, error.code));
  made.Set("syscall", Napi::String::New(env, error.syscall));
  if (!error.path.empty())
    made.Set("path", Napi::String::New(env, error.path));
  return made;
}

Napi::Value raise(Napi::Env env, const Error &error) {
  toError(env, error).ThrowAsJavaScriptException();
  return env.Undefined();
}

std::string textOf(const Napi::Object &object, const char *name, const char *otherwise) {
  const Napi::Value value = object.Get(name);
  return value.IsString() ? value.As<Napi::String>().Utf8Value() : otherwise;
}

std::vector<std::string> textsOf(const Napi::Value &value) {
  std::vector<std::string> texts;
  if (!value.IsArray())
    return texts;
  const auto list = value.As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length(); i++)
    texts.push_back(Napi::Value(list[i]).ToString().Utf8Value());
  return texts;
}

bool flagOf(const Napi::Object &object, const char *name, bool otherwise) {
  const Napi::Value value = object.Get(name);
  return value.IsBoolean() ? value.As<Napi::Boolean>().Value() : otherwise;
}

int64_t numberOf(const Napi::Object &object, const char *name, int64_t otherwise) {
  const Napi::Value value = object.Get(name);
  return value.IsNumber() ? value.As<Napi::Number>().Int64Value() : otherwise;
}

Identity identityOf(const Napi::Object &object) {
  // A missing id must not become root's.
  constexpr int64_t kNobody = 65534;
  Identity identity;
  identity.uid = static_cast<uid_t>(numberOf(object, "uid", kNobody));
  identity.gid = static_cast<gid_t>(numberOf(object, "gid", kNobody));
  const Napi::Value groups = object.Get("gids");
  if (!groups.IsArray())
    return identity;
  const auto list = groups.As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length(); i++)
    identity.groups.push_back(list.Get(i).As<Napi::Number>().Uint32Value());
  return identity;
}

std::shared_ptr<Fd> keep(int fd) { return std::make_shared<Fd>(fcntl(fd, F_DUPFD_CLOEXEC, 3)); }

} // namespace berth::binding
