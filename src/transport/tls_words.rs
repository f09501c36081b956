//! Why a TLS handshake failed, in words that say what to do; and whether the server asked for a certificate of the client.

use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible, SignatureScheme};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Why a server ends a handshake in which the client shows no certificate.
pub const WANTS: &str = "the server asks for a client certificate";
const VERSION: &str = "the server supports neither TLS 1.2 nor TLS 1.3";
const NOTHING_SHARED: &str = "the server and this client have no common cipher suite or parameter";

/// The certificate of the client, if it has one: remembers whether a server asked for one in vain.
#[derive(Debug, Default)]
pub struct Asked {
    in_vain: AtomicBool,
    own: Option<Arc<CertifiedKey>>,
}

impl Asked {
    /// With a certificate to show.
    pub fn with(own: Option<Arc<CertifiedKey>>) -> Asked {
        Asked { own, ..Asked::default() }
    }

    /// Whether it asked one that has none.
    pub fn was(&self) -> bool {
        self.in_vain.load(Ordering::Relaxed)
    }
}

impl ResolvesClientCert for Asked {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.in_vain.store(self.own.is_none(), Ordering::Relaxed);
        self.own.clone()
    }

    fn has_certs(&self) -> bool {
        self.own.is_some()
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
        Error::InvalidMessage(why) => format!("the server sent a broken TLS message ({})", spelt(&format!("{why:?}"))),
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            "the server sent an unexpected TLS message".to_owned()
        }
        Error::PeerIncompatible(why) => incompatible(why),
        Error::PeerMisbehaved(why) => format!("the server violated the TLS protocol ({})", spelt(&format!("{why:?}"))),
        Error::NoCertificatesPresented => "the server sent no certificate".to_owned(),
        Error::DecryptError => "data from the server cannot be decrypted".to_owned(),
        Error::PeerSentOversizedRecord => "the server sent a TLS record that is too large".to_owned(),
        Error::InvalidCertRevocationList(why) => format!("its list of revoked certificates is not valid ({})", spelt(&format!("{why:?}"))),
        Error::General(why) => why.clone(),
        Error::Other(why) => spelt(&why.to_string()),
        other => spelt(&format!("{other:?}")),
    })
}

/// What a server has to say of an error of its handshake with a client, if it is one of TLS.
pub fn of_client(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    Some(match error {
        Error::AlertReceived(
            alert @ (AlertDescription::UnknownCA | AlertDescription::BadCertificate | AlertDescription::CertificateUnknown),
        ) => {
            let name = spelt(&format!("{alert:?}"));
            format!("the client does not trust the certificate (alert {}, {name})", u8::from(*alert))
        }
        Error::AlertReceived(alert) => {
            format!("the client ended it with the TLS alert {} ({})", u8::from(*alert), spelt(&format!("{alert:?}")))
        }
        Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
            "the client does not speak TLS".to_owned()
        }
        other => format!("the client's handshake cannot be answered ({})", spelt(&format!("{other:?}"))),
    })
}

fn incompatible(why: &PeerIncompatible) -> String {
    match why {
        PeerIncompatible::ServerDoesNotSupportTls12Or13 | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => VERSION.to_owned(),
        PeerIncompatible::NoCipherSuitesInCommon
        | PeerIncompatible::NoKxGroupsInCommon
        | PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::NoEcPointFormatsInCommon => NOTHING_SHARED.to_owned(),
        PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => WANTS.to_owned(),
        other => format!("the server uses a TLS feature that this client does not support ({})", spelt(&format!("{other:?}"))),
    }
}

/// A name as libraries write it, `UnknownCA`, as words of a sentence: `unknown CA`. What stands behind it in brackets is left out.
fn spelt(name: &str) -> String {
    let end = name.find(['(', '{']).unwrap_or(name.len());
    let chars: Vec<char> = name[..end].trim().chars().collect();
    let mut words = String::new();
    for (at, c) in chars.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| chars[before]);
        let small_next = chars.get(at + 1).is_some_and(|next| next.is_lowercase());
        let begins = c.is_uppercase() && before.is_some_and(|before| before.is_lowercase() || (before.is_uppercase() && small_next));
        if begins {
            words.push(' ');
        }
        // An abbreviation keeps its capitals.
        if small_next { words.extend(c.to_lowercase()) } else { words.push(*c) }
    }
    words
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
        AlertDescription::ProtocolVersion => VERSION.to_owned(),
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => NOTHING_SHARED.to_owned(),
        AlertDescription::CloseNotify => "the server ended TLS before the handshake was complete".to_owned(),
        AlertDescription::AccessDenied => "the server denied access".to_owned(),
        AlertDescription::InternalError => "the server had an internal error".to_owned(),
        AlertDescription::NoApplicationProtocol => "the server supports none of the application protocols (ALPN) of this client".to_owned(),
        other => match format!("{other:?}").as_str() {
            unknown if unknown.contains('(') => format!("the server ended it with the TLS alert {}", u8::from(other)),
            name => format!("the server ended it with the TLS alert {} ({})", u8::from(other), spelt(name)),
        },
    }
}

fn distrust(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => "no trusted authority issued it".to_owned(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "it is not valid yet".to_owned(),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => "it is for another host name".to_owned(),
        CertificateError::Revoked => "it was revoked".to_owned(),
        CertificateError::BadEncoding => "it is not a valid X.509 certificate".to_owned(),
        CertificateError::BadSignature => "its signature is wrong".to_owned(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is not valid for server authentication".to_owned()
        }
        CertificateError::UnknownRevocationStatus => "its revocation status is unknown".to_owned(),
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "its signature algorithm is not supported".to_owned()
        }
        CertificateError::Other(other) => match other.to_string().as_str() {
            // What `openssl req -x509` makes unless told otherwise.
            "CaUsedAsEndEntity" => "it is the certificate of a certificate authority (CA:TRUE), not of a server".to_owned(),
            "EndEntityUsedAsCa" => "its issuer is not a certificate authority".to_owned(),
            name => spelt(name),
        },
        other => spelt(&format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::OtherError;

    /// A handshake with a server that asks for a certificate of the client, and what the client's reading comes to.
    async fn asked_for(version: &'static rustls::SupportedProtocolVersion) -> (io::Error, bool) {
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
        use tokio::io::AsyncReadExt;
        let made = crate::transport::tls::Identity::generate().unwrap();
        let certificate = CertificateDer::from_pem_slice(made.certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(made.key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
        let builder = rustls::ServerConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
        let server = builder.with_client_cert_verifier(verifier).with_single_cert(vec![certificate], key).unwrap();
        let mut client = crate::transport::tls::client(crate::transport::tls::Trust::Only(&made.certificate)).unwrap();
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

    /// An error of the library behind rustls: its name is all that it says.
    #[derive(Debug)]
    struct Word(&'static str);

    impl std::fmt::Display for Word {
        fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            out.write_str(self.0)
        }
    }

    impl std::error::Error for Word {}

    fn said(error: Error, asked: bool) -> String {
        of(&io::Error::new(io::ErrorKind::InvalidData, error), asked).unwrap()
    }

    #[test]
    fn no_name_of_the_library_is_shown() {
        use rustls::PeerMisbehaved;
        let other = |name| CertificateError::Other(OtherError(Arc::new(Word(name))));
        let mut errors: Vec<Error> = (0..=255).map(|number| Error::AlertReceived(AlertDescription::from(number))).collect();
        // Each name of a certificate error that rustls passes on from webpki, and those that it has itself.
        errors.extend(
            [
                "CaUsedAsEndEntity",
                "CertDistrusted",
                "EmptyEkuExtension",
                "EndEntityUsedAsCa",
                "ExtensionValueInvalid",
                "InvalidNetworkMaskConstraint",
                "InvalidSerialNumber",
                "MalformedDnsIdentifier",
                "MalformedExtensions",
                "MalformedNameConstraint",
                "MaximumNameConstraintComparisonsExceeded",
                "MaximumPathBuildCallsExceeded",
                "MaximumPathDepthExceeded",
                "MaximumSignatureChecksExceeded",
                "NameConstraintViolation",
                "PathLenConstraintViolated",
                "SignatureAlgorithmMismatch",
                "UnsupportedCertVersion",
                "UnsupportedNameType",
                "TrailingData(Certificate)",
            ]
            .map(|name| Error::InvalidCertificate(other(name))),
        );
        errors.extend(
            [
                CertificateError::BadEncoding,
                CertificateError::UnhandledCriticalExtension,
                CertificateError::UnknownRevocationStatus,
                CertificateError::ExpiredRevocationList,
                CertificateError::BadSignature,
                CertificateError::InvalidPurpose,
                CertificateError::InvalidOcspResponse,
                CertificateError::ApplicationVerificationFailure,
            ]
            .map(Error::InvalidCertificate),
        );
        errors.extend([
            Error::InvalidMessage(InvalidMessage::MissingData("ServerHello")),
            Error::InvalidMessage(InvalidMessage::UnsupportedCompression),
            Error::PeerIncompatible(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig),
            Error::PeerIncompatible(PeerIncompatible::ExtendedMasterSecretExtensionRequired),
            Error::PeerMisbehaved(PeerMisbehaved::TooMuchEarlyDataReceived),
            Error::PeerMisbehaved(PeerMisbehaved::UnsolicitedServerHelloExtension),
            Error::NoCertificatesPresented,
            Error::DecryptError,
            Error::UnsupportedNameType,
            Error::PeerSentOversizedRecord,
            Error::HandshakeNotComplete,
            Error::FailedToGetRandomBytes,
            Error::Other(OtherError(Arc::new(Word("NotOfTheLibrary")))),
        ]);
        for error in errors {
            let text = said(error.clone(), false);
            let glued = |word: &str| word.chars().zip(word.chars().skip(1)).any(|(a, b)| a.is_lowercase() && b.is_uppercase());
            assert!(!text.split_whitespace().any(glued), "{error:?}: {text}");
            assert!(!text.contains("  ") && !text.contains("()"), "{error:?}: {text}");
        }
    }

    #[test]
    fn what_tls_says_is_said_in_words() {
        let authority = Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Word("CaUsedAsEndEntity")))));
        for (error, asked, words) in [
            (Error::AlertReceived(AlertDescription::CertificateRequired), false, "the server asks for a client certificate"),
            (Error::AlertReceived(AlertDescription::HandshakeFailure), true, "the server asks for a client certificate"),
            (
                Error::AlertReceived(AlertDescription::HandshakeFailure),
                false,
                "the server and this client have no common cipher suite \
                or parameter",
            ),
            (Error::AlertReceived(AlertDescription::AccessDenied), true, "the server denied access"),
            (Error::AlertReceived(AlertDescription::UnknownCA), false, "the server ended it with the TLS alert 48 (unknown CA)"),
            (Error::AlertReceived(AlertDescription::Unknown(200)), false, "the server ended it with the TLS alert 200"),
            (authority, false, "certificate not trusted: it is the certificate of a certificate authority (CA:TRUE), not of a server"),
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
