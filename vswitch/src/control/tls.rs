//! TLS 1.2 and 1.3 for OpenFlow connections, both dialled and listened for, as Open vSwitch does
//! it: each side shows a certificate that the other's authority signed. Names in certificates do
//! not matter: controllers are given by address, and whom the authority signed is trusted.
//!
//! The files are read again for every connection, and what was made of them is kept until they
//! differ, so that a renewed certificate is used from the next connection on.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::config;

/// What connections are secured with.
#[derive(Debug)]
pub struct Tls {
    files: config::Tls,
    made: Mutex<Option<Made>>,
}

/// What was made of the files, and of which contents.
#[derive(Clone, Debug)]
struct Made {
    contents: Contents,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Contents {
    private_key: Vec<u8>,
    certificate: Vec<u8>,
    ca_cert: Vec<u8>,
}

/// A file that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tls.{key} = \"{}\": {why}", path.display())]
pub struct TlsError {
    key: &'static str,
    path: PathBuf,
    why: String,
}

impl Tls {
    /// Nothing is read yet.
    pub fn new(files: config::Tls) -> Tls {
        Tls {
            files,
            made: Mutex::default(),
        }
    }

    /// Whether the files can be used.
    pub fn check(&self) -> Result<(), TlsError> {
        self.made().map(drop)
    }

    /// Secures a connection that was dialled.
    pub async fn connect(self: &Arc<Tls>, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let made = self.read().await?;
        // Nobody looks at the name, and it is not sent.
        let name = ServerName::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let connector = TlsConnector::from(made.client);
        Ok(connector.connect(name, stream).await?.into())
    }

    /// Secures a connection that was accepted.
    pub async fn accept(self: &Arc<Tls>, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let made = self.read().await?;
        let stream = TlsAcceptor::from(made.server).accept(stream).await?;
        Ok(stream.into())
    }

    async fn read(self: &Arc<Tls>) -> io::Result<Made> {
        let tls = Arc::clone(self);
        let made = tokio::task::spawn_blocking(move || tls.made()).await?;
        made.map_err(io::Error::other)
    }

    fn made(&self) -> Result<Made, TlsError> {
        let contents = Contents {
            private_key: self.bytes("private_key", &self.files.private_key)?,
            certificate: self.bytes("certificate", &self.files.certificate)?,
            ca_cert: self.bytes("ca_cert", &self.files.ca_cert)?,
        };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        match &*made {
            Some(made) if made.contents == contents => Ok(made.clone()),
            _ => {
                let new = self.make(contents)?;
                *made = Some(new.clone());
                Ok(new)
            }
        }
    }

    fn bytes(&self, key: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
        let length = std::fs::metadata(path).map(|it| it.len());
        let bytes = match length {
            Ok(length) if length > FILE_BYTES_MAX => Err(io::ErrorKind::FileTooLarge.into()),
            _ => std::fs::read(path),
        };
        bytes.map_err(|error| wrong(key, path, error))
    }

    fn make(&self, contents: Contents) -> Result<Made, TlsError> {
        let files = &self.files;
        let chain = certificates("certificate", &files.certificate, &contents.certificate)?;
        let authorities = certificates("ca_cert", &files.ca_cert, &contents.ca_cert)?;
        let about_authority = |error: &dyn fmt::Display| wrong("ca_cert", &files.ca_cert, error);
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots
                .add(authority)
                .map_err(|error| about_authority(&error))?;
        }
        let roots = Arc::new(roots);
        let provider = Arc::new(ring::default_provider());
        let about_key = |error: &dyn fmt::Display| wrong("private_key", &files.private_key, error);
        let key = PrivateKeyDer::from_pem_slice(&contents.private_key)
            .map_err(|error| about_key(&error))?;
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|error| about_authority(&error))?;
        let server = server(&provider, verifier, chain.clone(), key.clone_key());
        let client = client(&provider, roots, chain, key);
        Ok(Made {
            contents,
            client: Arc::new(client.map_err(|error| about_key(&error))?),
            server: Arc::new(server.map_err(|error| about_key(&error))?),
        })
    }
}

fn server(
    provider: &Arc<CryptoProvider>,
    verifier: Arc<dyn ClientCertVerifier>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
}

fn client(
    provider: &Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, rustls::Error> {
    let verifier = SignedByAuthority {
        roots,
        provider: provider.clone(),
    };
    let mut client = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(chain, key)?;
    client.enable_sni = false;
    Ok(client)
}

fn certificates(
    key: &'static str,
    path: &Path,
    bytes: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    match read {
        Ok(read) if read.is_empty() => Err(wrong(key, path, "there is no certificate in it")),
        Ok(read) => Ok(read),
        Err(error) => Err(wrong(key, path, error)),
    }
}

fn wrong(key: &'static str, path: &Path, why: impl fmt::Display) -> TlsError {
    TlsError {
        key,
        path: path.to_owned(),
        why: why.to_string(),
    }
}

/// Trusts a controller whose certificate the authority signed, whatever its name.
#[derive(Debug)]
struct SignedByAuthority {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for SignedByAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = rustls::server::ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            intermediates,
            now,
            algorithms,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// More than any chain of certificates has.
const FILE_BYTES_MAX: u64 = 1 << 20;
