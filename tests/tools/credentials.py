"""What clients and servers show in tests: certificates, made by openssl, and tokens."""

import hashlib
import ssl
import subprocess

import grpc

# What stands in the certificate of a server that is asked for on this machine.
HERE = ("IP:127.0.0.1", "IP:0.0.0.0", "DNS:localhost")


def _openssl(*arguments, text=""):
    subprocess.run(["openssl", *map(str, arguments)], input=text, text=True, check=True,
                   capture_output=True)


_NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"]


class Certificate:
    """One that an authority gave, and its key: two files."""

    def __init__(self, file, key):
        self.file, self.key = file, key

    def secret(self):
        """As Kubernetes has it, in a Secret of type kubernetes.io/tls."""
        return {"tls.crt": self.file.read_text(encoding="ascii"),
                "tls.key": self.key.read_text(encoding="ascii")}

    def der(self):
        """As it goes over the wire."""
        return ssl.PEM_cert_to_DER_cert(self.file.read_text(encoding="ascii"))


class Authority:
    """One that signs certificates, in a directory that is made if it is missing. file: its own."""

    def __init__(self, directory, name="authority"):
        directory.mkdir(exist_ok=True)
        self._directory, self._name, self._count = directory, name, 0
        self.file, self._key = directory / f"{name}.pem", directory / f"{name}.key"
        _openssl("req", "-x509", *_NEW_KEY, "-keyout", self._key, "-out", self.file, "-days", 2,
                 "-subj", f"/CN={name}")

    def issue(self, *names, days=2, common_name=None, stem=None):
        """A certificate. names: subject alternative ones, as URI:... or DNS:...; days: for how long
        it is good from now on, -1: it has expired; stem: of its files, STEM.pem and STEM.key, and
        its common name, too, if none is given."""
        self._count += 1
        path = self._directory / (stem or f"{self._name}-{self._count}")
        one = Certificate(path.with_suffix(".pem"), path.with_suffix(".key"))
        request = path.with_suffix(".csr")
        _openssl("req", "-new", *_NEW_KEY, "-keyout", one.key, "-out", request,
                 "-subj", f"/CN={common_name or stem or 'somebody'}")
        alternatives = f"subjectAltName={','.join(names)}\n" if names else ""
        _openssl("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self._key,
                 "-days", days, "-out", one.file, "-extfile", "/dev/stdin",
                 text=f"basicConstraints=CA:FALSE\n{alternatives}")
        return one

    def credentials(self, certificate=None):
        """Of a client that trusts this authority, and shows that certificate."""
        if certificate is None:
            return grpc.ssl_channel_credentials(self.file.read_bytes())
        return grpc.ssl_channel_credentials(self.file.read_bytes(), certificate.key.read_bytes(),
                                            certificate.file.read_bytes())


def hash_of(token):
    return hashlib.sha256(token.encode()).hexdigest()


def token_line(identity, token):
    """Of waitd's file of tokens."""
    return f"{identity} {hash_of(token)}\n"
