"""Certificates as an authority would give them out, and tokens."""

import hashlib
import subprocess


def openssl(folder, *words):
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


class Authority:
    """Signs certificates, in a folder of its own, which is made."""

    def __init__(self, folder):
        folder.mkdir()
        self._folder = folder
        openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                "-nodes", "-subj", "/CN=authority", "-days", "2", "-keyout", "ca.key",
                "-out", "ca.crt")
        self.certificate = (folder / "ca.crt").read_text()

    def sign(self, *names):
        """Certificate and key for what is named, as `DNS:a.example` or `URI:spiffe://a`."""
        openssl(self._folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                "-nodes", "-subj", "/CN=somebody", "-keyout", "tls.key", "-out", "tls.csr")
        (self._folder / "tls.ext").write_text(f"subjectAltName={','.join(names)}\n")
        openssl(self._folder, "x509", "-req", "-in", "tls.csr", "-CA", "ca.crt", "-CAkey",
                "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "tls.ext",
                "-out", "tls.crt")
        return {each: (self._folder / each).read_text() for each in ("tls.crt", "tls.key")}


def token_line(identity, token):
    """Of waitd's file of tokens."""
    return f"{identity} {hashlib.sha256(token.encode()).hexdigest()}\n"
