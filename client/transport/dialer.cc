#include "client/transport/dialer.h"

#include <fcntl.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_certificate_verifier.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <grpcpp/support/channel_arguments.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace waitd::internal {
namespace {

// How often the files of TLS are looked at, in seconds. They are small, and a certificate that is
// replaced is good for longer than this.
constexpr unsigned kLookEvery = 5;

// gRPC's servers take no more than this in the headers of a call.
constexpr size_t kTokenBytesMax = 8 << 10;
// The system's authorities are a quarter of a mebibyte.
constexpr size_t kPemBytesMax = 16 << 20;

absl::Status Fault(const char* what, const std::string& path, absl::string_view fault) {
  return absl::InvalidArgumentError(absl::StrCat("the ", what, " '", path, "' ", fault));
}

// The content of a regular file, for it is read more than once, and nobody waits for a pipe.
absl::StatusOr<std::string> ReadFile(const char* what, const std::string& path, size_t bytes_max) {
  const auto unreadable = [&](int error) {
    return Fault(what, path,
                 absl::StrCat("cannot be read: ", std::strerror(error),
                              "; give a file that is there and may be read"));
  };
  const int file = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (file < 0) return unreadable(errno);
  struct stat kind = {};
  std::string content;
  std::array<char, 4096> piece;
  ssize_t got = fstat(file, &kind);
  const bool regular = got == 0 && S_ISREG(kind.st_mode);
  while (regular && content.size() <= bytes_max) {
    got = read(file, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    content.append(piece.data(), static_cast<size_t>(got));
  }
  const int error = errno;
  close(file);
  if (got < 0) return unreadable(error);
  if (!regular)
    return Fault(what, path, "is no regular file; give one: it is read again and again");
  if (content.size() > bytes_max) return Fault(what, path, "is too large to be one; give another");
  return content;
}

// `kind`: how the block that the file must hold calls itself.
absl::Status CheckPem(const char* what, const std::string& path, const char* kind) {
  const absl::StatusOr<std::string> content = ReadFile(what, path, kPemBytesMax);
  if (!content.ok()) return content.status();
  if (absl::StrContains(*content, absl::StrCat(kind, "-----"))) return absl::OkStatus();
  return Fault(what, path,
               absl::StrCat("has no ", absl::AsciiStrToLower(kind), " in PEM form; give one"));
}

absl::StatusOr<std::string> ReadToken(const std::string& path) {
  constexpr const char* kWhat = "token file";
  absl::StatusOr<std::string> token = ReadFile(kWhat, path, kTokenBytesMax);
  if (!token.ok()) return token;
  absl::StripTrailingAsciiWhitespace(&*token);
  if (token->empty()) return Fault(kWhat, path, "is empty; write the token into it");
  const bool sendable = std::all_of(token->begin(), token->end(),
                                    [](char each) { return each >= ' ' && each <= '~'; });
  if (!sendable) {
    return Fault(
        kWhat, path,
        "holds characters that cannot be sent; write the token alone into it, on one line");
  }
  return token;
}

std::shared_ptr<grpc::ChannelCredentials> Tls(const Credentials& files) {
  namespace tls = grpc::experimental;
  tls::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(std::make_shared<tls::FileWatcherCertificateProvider>(
      files.key_file, files.cert_file, files.ca_file, kLookEvery));
  options.watch_root_certs();
  if (!files.cert_file.empty()) options.watch_identity_key_cert_pairs();
  options.set_certificate_verifier(std::make_shared<tls::HostNameCertificateVerifier>());
  return tls::TlsCredentials(options);
}

}  // namespace

Dialer::Dialer(std::string address, Credentials files)
    : address_(std::move(address)), files_(std::move(files)) {}

absl::Status Dialer::Check() const {
  if (files_.cert_file.empty() != files_.key_file.empty()) {
    return absl::InvalidArgumentError(files_.key_file.empty()
                                          ? "key_file is missing: cert_file is of no use alone"
                                          : "cert_file is missing: key_file is of no use alone");
  }
  if (!files_.cert_file.empty() && files_.ca_file.empty()) {
    return absl::InvalidArgumentError(
        "ca_file is missing: cert_file and key_file are for TLS, which needs it; for the system's "
        "authorities give /etc/ssl/certs/ca-certificates.crt");
  }
  if (!files_.ca_file.empty()) {
    if (auto fault = CheckPem("CA file", files_.ca_file, "CERTIFICATE"); !fault.ok()) return fault;
  }
  if (!files_.cert_file.empty()) {
    auto fault = CheckPem("certificate file", files_.cert_file, "CERTIFICATE");
    fault.Update(CheckPem("key file", files_.key_file, "PRIVATE KEY"));
    if (!fault.ok()) return fault;
  }
  return files_.token_file.empty() ? absl::OkStatus() : ReadToken(files_.token_file).status();
}

absl::StatusOr<std::shared_ptr<grpc::Channel>> Dialer::Dial() {
  if (credentials_ == nullptr) {
    if (absl::Status fault = Check(); !fault.ok()) return fault;
    credentials_ = files_.ca_file.empty() ? grpc::InsecureChannelCredentials() : Tls(files_);
  }
  grpc::ChannelArguments arguments;
  // A stream with parked waits is silent, and what is silent is cut, or is gone and nobody knows.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // A message is as large as the signals in it, which the server bounds, or as what there is to be
  // listed.
  arguments.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomChannel(address_, credentials_, arguments);
}

absl::Status Dialer::Authorize(grpc::ClientContext& context) const {
  if (files_.token_file.empty()) return absl::OkStatus();
  // Not as gRPC's credentials of a call: those refuse plain text, over which it goes to a proxy on
  // the same machine.
  const absl::StatusOr<std::string> token = ReadToken(files_.token_file);
  if (!token.ok()) return token.status();
  context.AddMetadata("authorization", absl::StrCat("Bearer ", *token));
  return absl::OkStatus();
}

}  // namespace waitd::internal
