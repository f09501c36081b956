//! Why TLS cannot be set up.

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file or text cannot be read.
    #[error("cannot read certificates from {place}: {cause}")]
    Pem {
        /// File name, or what the text is.
        place: String,
        /// What the parser says.
        cause: String,
    },
    /// The library refuses the settings.
    #[error("TLS settings refused: {0}")]
    Refused(String),
}
