//! Why a TLS handshake failed, in words that say what to do; and whether the server asked for a certificate of the client.

use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, SignatureScheme};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Why a server ends a handshake in which the client shows no certificate.
pub const WANTS: &str = "the server asks for a client certificate";

/// Stands in for certificates of the client, which has none: remembers whether a server asked for one.
#[derive(Debug, Default)]
pub struct Asked(AtomicBool);

impl Asked {
    /// Whether it did.
    pub fn was(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl ResolvesClientCert for Asked {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// What TLS has to say of an error, if it is one of TLS. `asked`: a server of this target asked for a certificate.
pub fn of(error: &io::Error, asked: bool) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    Some(match error {
        Error::InvalidCertificate(why) => format!("certificate not trusted: {}", distrust(why)),
        Error::AlertReceived(alert) => ended(*alert, asked),
        Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
            "the server does not answer in TLS".to_owned()
        }
        other => other.to_string(),
    })
}

/// Whether an error is about the server's certificate.
pub fn is_distrust(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
    matches!(error, Some(Error::InvalidCertificate(_)))
}

/// Whether an error says that the server wants a certificate.
pub fn wants_certificate(error: &io::Error, asked: bool) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
    matches!(error, Some(Error::AlertReceived(alert)) if wants(*alert, asked))
}

fn wants(alert: AlertDescription, asked: bool) -> bool {
    match alert {
        AlertDescription::CertificateRequired => true,
        // TLS 1.2 has no word for it.
        AlertDescription::HandshakeFailure | AlertDescription::BadCertificate => asked,
        _ => false,
    }
}

fn ended(alert: AlertDescription, asked: bool) -> String {
    if wants(alert, asked) {
        return WANTS.to_owned();
    }
    match alert {
        AlertDescription::UnrecognisedName => "the server has no certificate for this host name".to_owned(),
        AlertDescription::ProtocolVersion => "the server speaks another version of TLS than 1.2 and 1.3".to_owned(),
        AlertDescription::HandshakeFailure => "the server shares no cipher or parameter with this client".to_owned(),
        other => format!("the server ended it with the alert {other:?}"),
    }
}

fn distrust(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => "no trusted authority issued it".to_owned(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "it is not valid yet".to_owned(),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => "it is for another host name".to_owned(),
        CertificateError::Revoked => "it was revoked".to_owned(),
        CertificateError::Other(other) => format!("{other}"),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A handshake with a server that asks for a certificate of the client, and what the client's reading comes to.
    async fn asked_for(version: &'static rustls::SupportedProtocolVersion) -> (io::Error, bool) {
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
        use tokio::io::AsyncReadExt;
        let made = crate::net::tls::Identity::generate().unwrap();
        let certificate = CertificateDer::from_pem_slice(made.certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(made.key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
        let builder = rustls::ServerConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
        let server = builder.with_client_cert_verifier(verifier).with_single_cert(vec![certificate], key).unwrap();
        let mut client = crate::net::tls::client(crate::net::tls::Trust::Only(&made.certificate)).unwrap();
        let asked = Arc::new(Asked::default());
        Arc::make_mut(&mut client).client_auth_cert_resolver = asked.clone();
        let (near, far) = tokio::io::duplex(65_536);
        let serving = tokio::spawn(async move { tokio_rustls::TlsAcceptor::from(Arc::new(server)).accept(far).await.is_ok() });
        let connected = tokio_rustls::TlsConnector::from(client).connect(ServerName::try_from("localhost").unwrap(), near).await;
        let error = match connected {
            Ok(mut stream) => stream.read_u8().await.unwrap_err(),
            Err(error) => error,
        };
        assert!(!serving.await.unwrap());
        (error, asked.was())
    }

    #[tokio::test]
    async fn a_server_that_asks_for_a_certificate_is_understood_in_both_versions() {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let (error, asked) = asked_for(version).await;
            assert!(asked);
            assert_eq!(of(&error, asked).as_deref(), Some("the server asks for a client certificate"), "{version:?} {error:?}");
        }
    }

    #[test]
    fn what_tls_says_is_said_in_words() {
        let said = |error: Error, asked| of(&io::Error::new(io::ErrorKind::InvalidData, error), asked).unwrap();
        for (error, asked, words) in [
            (Error::AlertReceived(AlertDescription::CertificateRequired), false, "the server asks for a client certificate"),
            (Error::AlertReceived(AlertDescription::HandshakeFailure), true, "the server asks for a client certificate"),
            (Error::AlertReceived(AlertDescription::HandshakeFailure), false, "the server shares no cipher or parameter with this client"),
            (Error::AlertReceived(AlertDescription::AccessDenied), true, "the server ended it with the alert AccessDenied"),
            (Error::InvalidCertificate(CertificateError::UnknownIssuer), false, "certificate not trusted: no trusted authority issued it"),
            (Error::InvalidCertificate(CertificateError::NotValidForName), false, "certificate not trusted: it is for another host name"),
            (Error::InvalidCertificate(CertificateError::Expired), false, "certificate not trusted: it has expired"),
            (Error::InvalidMessage(InvalidMessage::InvalidContentType), false, "the server does not answer in TLS"),
        ] {
            assert_eq!(said(error, asked), words);
        }
        assert_eq!(of(&io::ErrorKind::UnexpectedEof.into(), true), None);
    }
}
