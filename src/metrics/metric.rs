//! What is measured as a time.

/// What is measured as a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum TimeMetric {
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
    /// HTTP requests before connections that were answered.
    HttpRequest,
    /// Those that were not answered in time.
    HttpRequestCensored,
    /// TCP connects of attempts that opened, or were cut later.
    TcpConnect,
    /// TCP connects that a deadline, a fault or the end of the run cut.
    TcpConnectCensored,
    /// TLS handshakes of attempts that opened, or were cut later.
    Tls,
    /// TLS handshakes that were cut, as TCP connects.
    TlsCensored,
    /// Those of [`TimeMetric::Tls`] that were full ones.
    TlsFull,
    /// Those that were cut and asked for no earlier session.
    TlsFullCensored,
    /// Those of [`TimeMetric::Tls`] that took up an earlier session.
    TlsResumed,
    /// Those that were cut and asked for an earlier session.
    TlsResumedCensored,
    /// Request to 101.
    OpeningHandshake,
    /// Requests whose 101 was cut off, as TCP connects.
    OpeningHandshakeCensored,
    /// The 101 to `t_ready`, where being open is not being ready.
    TimeToReady,
    /// The same, of connections that ended before, or the run did.
    TimeToReadyCensored,
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
    /// From the time in a received message to when it came, where that is no negative time.
    BroadcastLatency,
    /// By how much a received message came before the time in it.
    BroadcastLatencyNegative,
    /// Lateness of due connects and sends.
    Lag,
}

/// All metrics, in order.
pub const METRICS: [TimeMetric; 36] = [
    TimeMetric::ReconnectTime,
    TimeMetric::ReconnectTimeCensored,
    TimeMetric::ReconnectTimeNever,
    TimeMetric::Detect,
    TimeMetric::DetectCensored,
    TimeMetric::Backoff,
    TimeMetric::Attempt,
    TimeMetric::HttpRequest,
    TimeMetric::HttpRequestCensored,
    TimeMetric::TcpConnect,
    TimeMetric::TcpConnectCensored,
    TimeMetric::Tls,
    TimeMetric::TlsCensored,
    TimeMetric::TlsFull,
    TimeMetric::TlsFullCensored,
    TimeMetric::TlsResumed,
    TimeMetric::TlsResumedCensored,
    TimeMetric::OpeningHandshake,
    TimeMetric::OpeningHandshakeCensored,
    TimeMetric::TimeToReady,
    TimeMetric::TimeToReadyCensored,
    TimeMetric::ClosingHandshake,
    TimeMetric::ClosingHandshakeCensored,
    TimeMetric::CloseAck,
    TimeMetric::CloseAckCensored,
    TimeMetric::FinWait,
    TimeMetric::FinWaitCensored,
    TimeMetric::PongDeadlineClient,
    TimeMetric::PongDeadlineServer,
    TimeMetric::Rtt,
    TimeMetric::RttCensored,
    TimeMetric::RttFromSent,
    TimeMetric::RttFromSentCensored,
    TimeMetric::BroadcastLatency,
    TimeMetric::BroadcastLatencyNegative,
    TimeMetric::Lag,
];

impl TimeMetric {
    /// As in files and expectations.
    pub fn name(self) -> &'static str {
        match self {
            TimeMetric::ReconnectTime => "reconnect_time",
            TimeMetric::ReconnectTimeCensored => "reconnect_time_censored",
            TimeMetric::ReconnectTimeNever => "reconnect_time_never",
            TimeMetric::Detect => "detect",
            TimeMetric::DetectCensored => "detect_censored",
            TimeMetric::Backoff => "backoff",
            TimeMetric::Attempt => "attempt",
            TimeMetric::HttpRequest => "http_request",
            TimeMetric::HttpRequestCensored => "http_request_censored",
            TimeMetric::TcpConnect => "tcp_connect",
            TimeMetric::TcpConnectCensored => "tcp_connect_censored",
            TimeMetric::Tls => "tls",
            TimeMetric::TlsCensored => "tls_censored",
            TimeMetric::TlsFull => "tls_full",
            TimeMetric::TlsFullCensored => "tls_full_censored",
            TimeMetric::TlsResumed => "tls_resumed",
            TimeMetric::TlsResumedCensored => "tls_resumed_censored",
            TimeMetric::OpeningHandshake => "opening_handshake",
            TimeMetric::OpeningHandshakeCensored => "opening_handshake_censored",
            TimeMetric::TimeToReady => "time_to_ready",
            TimeMetric::TimeToReadyCensored => "time_to_ready_censored",
            TimeMetric::ClosingHandshake => "closing_handshake",
            TimeMetric::ClosingHandshakeCensored => "closing_handshake_censored",
            TimeMetric::CloseAck => "close_ack",
            TimeMetric::CloseAckCensored => "close_ack_censored",
            TimeMetric::FinWait => "fin_wait",
            TimeMetric::FinWaitCensored => "fin_wait_censored",
            TimeMetric::PongDeadlineClient => "pong_deadline_client",
            TimeMetric::PongDeadlineServer => "pong_deadline_server",
            TimeMetric::Rtt => "rtt",
            TimeMetric::RttCensored => "rtt_censored",
            TimeMetric::RttFromSent => "rtt_from_sent",
            TimeMetric::RttFromSentCensored => "rtt_from_sent_censored",
            TimeMetric::BroadcastLatency => "broadcast_latency",
            TimeMetric::BroadcastLatencyNegative => "broadcast_latency_negative",
            TimeMetric::Lag => "lag",
        }
    }

    /// Where the times of this kind are that were cut; `None` for kinds that are not cut.
    pub fn censored(self) -> Option<TimeMetric> {
        Some(match self {
            TimeMetric::ReconnectTime => TimeMetric::ReconnectTimeCensored,
            TimeMetric::Detect => TimeMetric::DetectCensored,
            TimeMetric::HttpRequest => TimeMetric::HttpRequestCensored,
            TimeMetric::TcpConnect => TimeMetric::TcpConnectCensored,
            TimeMetric::Tls => TimeMetric::TlsCensored,
            TimeMetric::TlsFull => TimeMetric::TlsFullCensored,
            TimeMetric::TlsResumed => TimeMetric::TlsResumedCensored,
            TimeMetric::OpeningHandshake => TimeMetric::OpeningHandshakeCensored,
            TimeMetric::TimeToReady => TimeMetric::TimeToReadyCensored,
            TimeMetric::ClosingHandshake => TimeMetric::ClosingHandshakeCensored,
            TimeMetric::CloseAck => TimeMetric::CloseAckCensored,
            TimeMetric::FinWait => TimeMetric::FinWaitCensored,
            TimeMetric::Rtt => TimeMetric::RttCensored,
            TimeMetric::RttFromSent => TimeMetric::RttFromSentCensored,
            _ => return None,
        })
    }

    /// Where the times of this kind are that never end.
    pub fn never(self) -> Option<TimeMetric> {
        (self == TimeMetric::ReconnectTime).then_some(TimeMetric::ReconnectTimeNever)
    }
}
