#include "server/access/tls.h"

#include <grpc/grpc_security.h>
#include <grpcpp/version_info.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace waitd::server {
namespace {

struct Free {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using Bio = std::unique_ptr<BIO, Free>;
using Certificate = std::unique_ptr<X509, Free>;
using Key = std::unique_ptr<EVP_PKEY, Free>;

Bio Open(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// Nobody is there to type one.
int NoPassword(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*unused*/) { return 0; }

absl::StatusOr<Certificate> FirstOf(const std::string& text, const char* what) {
  Certificate first(PEM_read_bio_X509(Open(text).get(), nullptr, NoPassword, nullptr));
  ERR_clear_error();
  if (first != nullptr) return first;
  return absl::InvalidArgumentError(absl::StrCat(what, " has no certificate in PEM form"));
}

absl::Status Check(const std::string& chain, const std::string& key,
                   const std::optional<std::string>& client_ca) {
  const absl::StatusOr<Certificate> own = FirstOf(chain, "the certificate file");
  if (!own.ok()) return own.status();
  const Key its_key(PEM_read_bio_PrivateKey(Open(key).get(), nullptr, NoPassword, nullptr));
  const bool fits = its_key != nullptr && X509_check_private_key(own->get(), its_key.get()) == 1;
  ERR_clear_error();
  if (its_key == nullptr) {
    return absl::InvalidArgumentError(
        "the key file has no private key in PEM form, or one that needs a password");
  }
  if (!fits) return absl::InvalidArgumentError("the key does not belong to the certificate");
  if (X509_cmp_current_time(X509_get0_notAfter(own->get())) < 0) {
    return absl::InvalidArgumentError("the certificate has expired");
  }
  if (!client_ca.has_value()) return absl::OkStatus();
  return FirstOf(*client_ca, "the file of the clients' authorities").status();
}

// gRPC offers credentials that ask for their certificates in C only.
class CredentialsOfC final : public grpc::ServerCredentials {
 public:
#if GRPC_CPP_VERSION_MAJOR == 1 && GRPC_CPP_VERSION_MINOR < 54
  explicit CredentialsOfC(grpc_server_credentials* of_c) : of_c_(of_c) {}
  ~CredentialsOfC() override { grpc_server_credentials_release(of_c_); }

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), of_c_);
  }

  grpc_server_credentials* const of_c_;
#else
  explicit CredentialsOfC(grpc_server_credentials* of_c) : grpc::ServerCredentials(of_c) {}
#endif

 public:
  void SetAuthMetadataProcessor(
      const std::shared_ptr<grpc::AuthMetadataProcessor>& /*unused*/) override {}
};

}  // namespace

absl::Status TlsCertificates::Set(std::string chain, std::string key,
                                  std::optional<std::string> client_ca) {
  if (absl::Status status = Check(chain, key, client_ca); !status.ok()) return status;
  const core::MutexLock lock(mutex_);
  chain_ = std::move(chain);
  key_ = std::move(key);
  client_ca_ = std::move(client_ca);
  ++number_;
  return absl::OkStatus();
}

std::shared_ptr<grpc::ServerCredentials> TlsCertificates::Credentials() {
  bool ask_clients = false;
  {
    const core::MutexLock lock(mutex_);
    ask_clients = client_ca_.has_value();
  }
  auto* const options = grpc_ssl_server_credentials_create_options_using_config_fetcher(
      ask_clients ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                  : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
      &TlsCertificates::Fetch, this);
  return std::make_shared<CredentialsOfC>(grpc_ssl_server_credentials_create_with_options(options));
}

grpc_ssl_certificate_config_reload_status TlsCertificates::Fetch(
    void* self, grpc_ssl_server_certificate_config** config) {
  auto& certificates = *static_cast<TlsCertificates*>(self);
  const core::MutexLock lock(certificates.mutex_);
  if (certificates.fetched_ == certificates.number_) {
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
  }
  const grpc_ssl_pem_key_cert_pair pair{certificates.key_.c_str(), certificates.chain_.c_str()};
  // gRPC 1.51 insists on some authorities, also where it asks no client for a certificate.
  const std::string client_ca = certificates.client_ca_.value_or(certificates.chain_);
  *config = grpc_ssl_server_certificate_config_create(client_ca.c_str(), &pair, 1);
  certificates.fetched_ = certificates.number_;
  return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
}

}  // namespace waitd::server
