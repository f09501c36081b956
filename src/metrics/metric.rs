//! What is measured as a time.

/// What is measured as a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Metric {
    /// `t_ready - t_fault` of outages that ended.
    ReconnectTime,
    /// From `t_fault` to the end of the run, of outages that did not end.
    ReconnectTimeCensored,
    /// From `t_fault` to giving up, of outages whose client gave up: they never end.
    ReconnectTimeNever,
    /// `t_detect - t_fault` of all outages.
    Detect,
    /// From an injection to the end of the run, where the client had not noticed.
    DetectCensored,
    /// Sum of the waits of an outage that ended.
    Backoff,
    /// Sum of the attempts of an outage that ended, the first reply included.
    Attempt,
    /// TCP connects of attempts that opened, or were cut later.
    TcpConnect,
    /// TCP connects that a deadline, a fault or the end of the run cut.
    TcpConnectCensored,
    /// TLS handshakes of attempts that opened, or were cut later.
    Tls,
    /// TLS handshakes that were cut, as TCP connects.
    TlsCensored,
    /// Those of [`Metric::Tls`] that were full ones.
    TlsFull,
    /// Those that were cut and asked for no earlier session.
    TlsFullCensored,
    /// Those of [`Metric::Tls`] that took up an earlier session.
    TlsResumed,
    /// Those that were cut and asked for an earlier session.
    TlsResumedCensored,
    /// Request to 101.
    OpeningHandshake,
    /// Requests whose 101 was cut off, as TCP connects.
    OpeningHandshakeCensored,
    /// First Close frame to the end of TCP.
    ClosingHandshake,
    /// Closing handshakes that were cut: the answer did not come, TCP did not end in time, or the run ended.
    ClosingHandshakeCensored,
    /// First Close frame to the one that answers it.
    CloseAck,
    /// First Close frame to the end of the wait for one that did not come.
    CloseAckCensored,
    /// Answer to the first Close frame to the end of TCP.
    FinWait,
    /// The same, where TCP did not end in time.
    FinWaitCensored,
    /// From an injection to the pong deadline of the client that ended the connection.
    PongDeadlineClient,
    /// From an injection to the pong deadline of the server that ended the connection.
    PongDeadlineServer,
    /// Due time to echo.
    Rtt,
    /// Due time to when no echo could come any more: its connection ended, or the run.
    RttCensored,
    /// Sent to echo.
    RttFromSent,
    /// The same from the actual send.
    RttFromSentCensored,
    /// Lateness of due connects and sends.
    Lag,
}

/// All metrics, in order.
pub const METRICS: [Metric; 30] = [
    Metric::ReconnectTime,
    Metric::ReconnectTimeCensored,
    Metric::ReconnectTimeNever,
    Metric::Detect,
    Metric::DetectCensored,
    Metric::Backoff,
    Metric::Attempt,
    Metric::TcpConnect,
    Metric::TcpConnectCensored,
    Metric::Tls,
    Metric::TlsCensored,
    Metric::TlsFull,
    Metric::TlsFullCensored,
    Metric::TlsResumed,
    Metric::TlsResumedCensored,
    Metric::OpeningHandshake,
    Metric::OpeningHandshakeCensored,
    Metric::ClosingHandshake,
    Metric::ClosingHandshakeCensored,
    Metric::CloseAck,
    Metric::CloseAckCensored,
    Metric::FinWait,
    Metric::FinWaitCensored,
    Metric::PongDeadlineClient,
    Metric::PongDeadlineServer,
    Metric::Rtt,
    Metric::RttCensored,
    Metric::RttFromSent,
    Metric::RttFromSentCensored,
    Metric::Lag,
];

impl Metric {
    /// As in files and expectations.
    pub fn name(self) -> &'static str {
        match self {
            Metric::ReconnectTime => "reconnect_time",
            Metric::ReconnectTimeCensored => "reconnect_time_censored",
            Metric::ReconnectTimeNever => "reconnect_time_never",
            Metric::Detect => "detect",
            Metric::DetectCensored => "detect_censored",
            Metric::Backoff => "backoff",
            Metric::Attempt => "attempt",
            Metric::TcpConnect => "tcp_connect",
            Metric::TcpConnectCensored => "tcp_connect_censored",
            Metric::Tls => "tls",
            Metric::TlsCensored => "tls_censored",
            Metric::TlsFull => "tls_full",
            Metric::TlsFullCensored => "tls_full_censored",
            Metric::TlsResumed => "tls_resumed",
            Metric::TlsResumedCensored => "tls_resumed_censored",
            Metric::OpeningHandshake => "opening_handshake",
            Metric::OpeningHandshakeCensored => "opening_handshake_censored",
            Metric::ClosingHandshake => "closing_handshake",
            Metric::ClosingHandshakeCensored => "closing_handshake_censored",
            Metric::CloseAck => "close_ack",
            Metric::CloseAckCensored => "close_ack_censored",
            Metric::FinWait => "fin_wait",
            Metric::FinWaitCensored => "fin_wait_censored",
            Metric::PongDeadlineClient => "pong_deadline_client",
            Metric::PongDeadlineServer => "pong_deadline_server",
            Metric::Rtt => "rtt",
            Metric::RttCensored => "rtt_censored",
            Metric::RttFromSent => "rtt_from_sent",
            Metric::RttFromSentCensored => "rtt_from_sent_censored",
            Metric::Lag => "lag",
        }
    }

    /// Where the times of this kind are that were cut; `None` for kinds that are not cut.
    pub fn censored(self) -> Option<Metric> {
        Some(match self {
            Metric::ReconnectTime => Metric::ReconnectTimeCensored,
            Metric::Detect => Metric::DetectCensored,
            Metric::TcpConnect => Metric::TcpConnectCensored,
            Metric::Tls => Metric::TlsCensored,
            Metric::TlsFull => Metric::TlsFullCensored,
            Metric::TlsResumed => Metric::TlsResumedCensored,
            Metric::OpeningHandshake => Metric::OpeningHandshakeCensored,
            Metric::ClosingHandshake => Metric::ClosingHandshakeCensored,
            Metric::CloseAck => Metric::CloseAckCensored,
            Metric::FinWait => Metric::FinWaitCensored,
            Metric::Rtt => Metric::RttCensored,
            Metric::RttFromSent => Metric::RttFromSentCensored,
            _ => return None,
        })
    }

    /// Where the times of this kind are that never end.
    pub fn never(self) -> Option<Metric> {
        (self == Metric::ReconnectTime).then_some(Metric::ReconnectTimeNever)
    }
}
