//! TLS settings: the roots that a client trusts, what it keeps of earlier sessions, and the certificate that the embedded server makes for
//! itself.

use crate::files::read_regular;
use crate::lock::lock;
use crate::transport::tickets::Tickets;
pub use crate::transport::tls_error::TlsError;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue, WebPkiServerVerifier, verify_server_name,
};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, ParsedCertificate};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, NamedGroup, RootCertStore, ServerConfig, SignatureScheme};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

/// Tickets of TLS 1.3 that a client keeps: as many as servers send after a handshake (OpenSSL, Go and rustls: two or fewer). Each is used
/// once (RFC 8446 §C.4).
const TICKETS: usize = 2;

/// What a client trusts.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'a> {
    /// The machine's roots, and those of a PEM file.
    Roots(Option<&'a Path>),
    /// Only this PEM text: the embedded server's own certificate.
    Only(&'a str),
    /// Everything. Explicit, for servers with test certificates.
    Anything,
}

/// A self-made certificate and its key, PEM.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    /// Certificate.
    pub certificate: String,
    /// Private key.
    pub key: String,
}

impl Identity {
    /// Makes one for `localhost` and the loopback addresses.
    ///
    /// # Errors
    /// If the machine has no random numbers.
    pub fn generate() -> Result<Self, TlsError> {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).map_err(|error| TlsError::Refused(error.to_string()))?;
        Ok(Identity { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() })
    }

    /// A certificate with its chain, and a private key, from these PEM files; without files one that is made. What is in the files is
    /// checked when a server is made of it.
    ///
    /// # Errors
    /// If a file cannot be read or is no text, or as [`Identity::generate`].
    pub fn from_files_or_made(files: Option<(&Path, &Path)>) -> Result<Self, TlsError> {
        let Some((certificate, key)) = files else { return Identity::generate() };
        let text = |file: &Path| {
            let wrong = |cause: String| TlsError::Pem { place: file.display().to_string(), cause };
            let bytes = read_regular(file).map_err(|error| wrong(error.to_string()))?;
            String::from_utf8(bytes).map_err(|_| wrong("this is not PEM".to_owned()))
        };
        Ok(Identity { certificate: text(certificate)?, key: text(key)? })
    }

    /// SHA-256 of its first certificate in hexadecimal, as browsers and openssl show it.
    ///
    /// # Errors
    /// If there is no certificate.
    pub fn fingerprint(&self) -> Result<String, TlsError> {
        let chain = certificates(self.certificate.as_bytes(), "the server's certificate")?;
        let digest = chain.first().map(|first| ::ring::digest::digest(&::ring::digest::SHA256, first));
        let bytes = digest.as_ref().map_or(&[][..], |digest| digest.as_ref());
        Ok(bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":"))
    }

    /// Settings of a server with this certificate, that takes up the sessions which these tickets hold, or none.
    ///
    /// # Errors
    /// If the PEM texts do not fit together.
    pub fn server(&self, tickets: Option<Arc<Tickets>>) -> Result<Arc<ServerConfig>, TlsError> {
        let certificates = certificates(self.certificate.as_bytes(), "the server's certificate")?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())
            .map_err(|error| TlsError::Pem { place: "the server's key".into(), cause: error.to_string() })?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key))
            .map_err(|error| TlsError::Refused(error.to_string()))?;
        // In tickets and not in memory: that has room for 256 sessions, and a herd is larger.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        match tickets {
            Some(tickets) => config.ticketer = tickets,
            None => config.send_tls13_tickets = 0,
        }
        Ok(Arc::new(config))
    }
}

/// What one client keeps of its earlier sessions with a server: tickets, bounded. A browser keeps them as long as it runs, in memory.
///
/// Of its server's other names and addresses it knows nothing: a client has one target.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<KeptTickets>);

#[derive(Debug, Default)]
struct KeptTickets {
    /// The last session of TLS 1.2; boxed, as most have none.
    tls12: Option<Box<Tls12ClientSessionValue>>,
    /// Tickets of TLS 1.3, the newest last.
    tls13: Vec<Tls13ClientSessionValue>,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, KeptTickets> {
        lock(&self.0)
    }

    /// Whether the next handshake will ask for an earlier session.
    pub fn has_any(&self) -> bool {
        let kept = self.lock();
        kept.tls12.is_some() || !kept.tls13.is_empty()
    }
}

impl ClientSessionStore for Sessions {
    // Libraries do not remember which group of keys a server chose.
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.lock().tls12 = Some(Box::new(session));
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.lock().tls12.as_deref().cloned()
    }

    fn remove_tls12_session(&self, _: &ServerName<'_>) {
        self.lock().tls12 = None;
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let kept = &mut self.lock().tls13;
        if kept.len() >= TICKETS {
            kept.remove(0);
        }
        kept.reserve_exact(1);
        kept.push(ticket);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'_>) -> Option<Tls13ClientSessionValue> {
        self.lock().tls13.pop()
    }
}

/// The same settings for a client that keeps its sessions.
pub fn keeping(config: &ClientConfig, sessions: &Arc<Sessions>) -> ClientConfig {
    let mut own = config.clone();
    own.resumption = Resumption::store(sessions.clone());
    own
}

/// Settings of a client that trusts `trust`. It keeps no session: see [`keeping`].
///
/// # Errors
/// If a PEM file cannot be read.
pub fn client(trust: Trust<'_>) -> Result<Arc<ClientConfig>, TlsError> {
    let mut config = trusting(trust)?;
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn trusting(trust: Trust<'_>) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Refused(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    match trust {
        Trust::Anything => {
            let verifier = Verifier { provider, accepts: Accepts::Anything };
            return Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth());
        }
        Trust::Roots(file) => {
            // Roots that the machine has but that do not parse are of no use to anybody.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if let Some(file) = file {
                let text =
                    read_regular(file).map_err(|error| TlsError::Pem { place: file.display().to_string(), cause: error.to_string() })?;
                let own = certificates(&text, &file.display().to_string())?;
                roots.add_parsable_certificates(own.iter().cloned());
                let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                    .build()
                    .map_err(|error| TlsError::Refused(error.to_string()))?;
                let verifier = Verifier { provider, accepts: Accepts::Named { chain, own } };
                return Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth());
            }
        }
        Trust::Only(pem) => {
            roots.add_parsable_certificates(certificates(pem.as_bytes(), "the server's certificate")?);
        }
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// A certificate with its chain and private key, from PEM files, for clients to show. An error never has a word of what is in the files.
///
/// # Errors
/// If a file cannot be read, or certificate and key do not fit together.
pub fn shown(certificate: &Path, key: &Path) -> Result<Arc<CertifiedKey>, TlsError> {
    let wrong = |file: &Path, cause: String| TlsError::Pem { place: file.display().to_string(), cause };
    let read = |file: &Path| read_regular(file).map_err(|error| wrong(file, error.to_string()));
    let chain = certificates(&read(certificate)?, &certificate.display().to_string())?;
    let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| wrong(key, "there is no private key in PEM".to_owned()))?;
    let shown = CertifiedKey::from_der(chain, private, &ring::default_provider());
    shown.map(Arc::new).map_err(|_| wrong(key, format!("this is not the private key of {}", certificate.display())))
}

fn certificates(pem: &[u8], place: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |cause: String| TlsError::Pem { place: place.to_owned(), cause };
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(|_| wrong("this is not PEM".to_owned()))?;
    if found.is_empty() { Err(wrong("there is none".to_owned())) } else { Ok(found) }
}

/// Decides about a server's certificate where the usual rules are not enough; signatures are always checked.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    accepts: Accepts,
}

/// What a [`Verifier`] accepts.
#[derive(Debug)]
enum Accepts {
    /// Every certificate.
    Anything,
    /// What chains to a root, and the certificates of the user's own file themselves if they are for this name.
    ///
    /// `openssl req -x509` marks its self-signed certificates as authorities, and an authority may not be a server's certificate
    /// (RFC 5280 §4.2.1.9); whoever names that very certificate as `ca` means it.
    Named { chain: Arc<WebPkiServerVerifier>, own: Vec<CertificateDer<'static>> },
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Accepts::Named { chain, own } = &self.accepts else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            // What webpki thinks of its use comes after what it thinks of its dates, which stand.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(_))) if own.iter().any(|own| own == end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
