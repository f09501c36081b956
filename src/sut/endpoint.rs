//! Where clients connect to: URL, address and trust, resolved once before the run.

use crate::address::Address;
use crate::plan::limits::{is_here, is_named_here};
use crate::plan::{AddressChoice, Remote, Target};
use crate::reconnect::NextAddress;
use crate::secret::mask_address;
use crate::sut::error::RunError;
use crate::template::TemplateValues;
use crate::transport::memory::network::Network;
use crate::transport::tls;
use crate::transport::tls::{Sessions, Trust};
use crate::transport::tls_words::Asked;
use crate::ws::handshake::own_headers::RunKey;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// In which one of several addresses of a host must take a TCP connect.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// Where clients connect to.
pub(crate) struct Endpoint {
    /// As the scenario says, with the port of a command.
    pub(crate) url: Address,
    /// Resolved; the first of them.
    pub(crate) address: SocketAddr,
    /// IP addresses of the host, or of the proxy, that no client uses.
    pub(crate) unused: usize,
    /// What an attempt must do besides to connect to it; `None`: nothing but that.
    pub(crate) detour: Option<Box<Detour>>,
    /// For wss.
    pub(crate) tls: Option<Tls>,
    /// Whether its server asked for a certificate of the client.
    pub(crate) asked: Arc<Asked>,
    /// The address is one of this network, not of the kernel.
    pub(crate) memory: Option<Network>,
    /// By which an embedded server knows the clients of its run; for nobody else.
    pub(crate) key: Option<RunKey>,
}

/// How a place is connected to where one TCP connect to one address does not do.
#[derive(Debug)]
pub(crate) struct Detour {
    /// All addresses of the host, or of the proxy; at least one.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Which of them an attempt begins with.
    pub(crate) choice: AddressChoice,
    /// A socket of this machine, in place of the addresses.
    pub(crate) socket: Option<String>,
    /// What is said to a proxy: the head of a CONNECT request.
    pub(crate) connect: Option<Vec<u8>>,
}

impl Detour {
    /// What an attempt does about further addresses, whose library does this.
    pub(crate) fn next(&self, library: NextAddress) -> NextAddress {
        match self.choice {
            AddressChoice::Library => library,
            AddressChoice::First => NextAddress::Never,
            AddressChoice::InTurn | AddressChoice::Random => NextAddress::Abandoned(NextAddress::AFTER),
        }
    }

    /// Whether an attempt is more than a TCP connect to the address that answered before the run.
    fn is_needed(&self, library: NextAddress) -> bool {
        self.socket.is_some() || self.connect.is_some() || self.next(library) != NextAddress::Never
    }
}

/// How clients begin TLS with a place.
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    /// Who the server must be.
    pub(crate) name: ServerName<'static>,
}

impl Endpoint {
    /// All its addresses, or those of its proxy.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        self.detour.as_ref().map_or(std::slice::from_ref(&self.address), |detour| &detour.addresses)
    }

    /// What an attempt must do besides, whose library does this about further addresses.
    pub(crate) fn detour(&self, library: NextAddress) -> Option<&Detour> {
        self.detour.as_deref().filter(|detour| detour.is_needed(library))
    }

    /// Whether this is an address of it.
    pub(crate) fn has_ip(&self, ip: IpAddr) -> bool {
        self.addresses().iter().any(|address| address.ip() == ip)
    }

    /// Whether what connects to it reaches this machine only. Where a proxy leads to is not known.
    pub(crate) fn is_here(&self) -> bool {
        let reaches_here = self.addresses().iter().all(|address| is_here(address.ip()));
        self.memory.is_some() || reaches_here && (!self.is_proxied() || is_named_here(&self.url.host))
    }

    /// What a run should say of it; `libraries`: some of its clients go on to further addresses by themselves.
    pub(crate) fn notice(&self, libraries: bool) -> Option<String> {
        let (unused, what) = (self.unused, if self.unused == 1 { "another address" } else { "other addresses" });
        let whose = if self.is_proxied() { "the proxy" } else { &self.url.host };
        // `localhost` is both 127.0.0.1 and ::1, and nobody means two servers by it.
        let others = libraries && self.detour.as_ref().is_some_and(|detour| detour.choice == AddressChoice::Library);
        (unused > 0 && !others && !is_named_here(whose)).then(|| {
            let many = if unused == 1 { String::new() } else { format!("{unused} ") };
            format!(
                "all connections go to {}; {whose} has {many}{what}: `addresses = \"in_turn\"` in [target.url] uses them",
                self.address.ip()
            )
        })
    }

    fn is_proxied(&self) -> bool {
        self.detour.as_ref().is_some_and(|detour| detour.connect.is_some())
    }
}

impl Tls {
    /// For a client with these sessions; without any each of its handshakes is a full one.
    pub(crate) fn connector(&self, sessions: Option<&Arc<Sessions>>) -> TlsConnector {
        match sessions {
            // Made anew for each attempt and kept by its connection only: a client that waits has nothing but its tickets.
            Some(sessions) => TlsConnector::from(Arc::new(tls::keeping(&self.config, sessions))),
            None => TlsConnector::from(self.config.clone()),
        }
    }
}

/// What there is to know of a place besides its URL.
#[derive(Clone, Copy)]
pub(crate) struct Access<'a> {
    trust: Trust<'a>,
    /// Keys of `[target.url]`.
    remote: Option<&'a Remote>,
    /// It is the target's host, which certificate, name and protocols of TLS are for.
    pub(crate) own: bool,
    /// The place of the target, where it is another place that something leads to.
    led_from: Option<&'a Endpoint>,
    /// Without `--yes`: other machines than the target's are not asked.
    limited: bool,
}

impl<'a> From<Trust<'a>> for Access<'a> {
    fn from(trust: Trust<'a>) -> Access<'a> {
        Access { trust, remote: None, own: false, led_from: None, limited: false }
    }
}

/// How clients get to the place of a target; `certificate` is the embedded server's own.
pub(crate) fn access<'a>(target: &'a Target, certificate: Option<&'a str>) -> Access<'a> {
    let remote = if let Target::Url(remote) = target { Some(&**remote) } else { None };
    Access { trust: trust(target, certificate), remote, own: true, led_from: None, limited: false }
}

/// How clients get to a place that is not the target's, to which a redirect or a request before a connection leads, by the same ways as to
/// the target, which is at `place`. `limited`: without `--yes`.
pub(crate) fn elsewhere<'a>(target: &'a Target, place: &'a Endpoint, own: bool, limited: bool) -> Access<'a> {
    Access { own, led_from: Some(place), limited, ..access(target, None) }
}

impl Access<'_> {
    /// The addresses of a host that are known without a lookup: those that the scenario gives, and those of the target.
    fn given(&self, asked: &Address) -> Vec<SocketAddr> {
        let at = |ip: IpAddr| SocketAddr::new(ip, asked.port);
        let given: Vec<_> = self.remote.map(|remote| remote.given(&asked.host)).unwrap_or_default().into_iter().map(at).collect();
        match self.led_from.filter(|place| given.is_empty() && place.url.host == asked.host && !place.is_proxied()) {
            // What is allowed of an address may not be of one that the name has got meanwhile.
            Some(place) => place.addresses().iter().map(|address| at(address.ip())).collect(),
            None => given,
        }
    }

    /// Whether clients may be led to a URL at these addresses, or by this proxy: nobody has agreed to load on another machine.
    ///
    /// # Errors
    /// They may not, in words.
    fn may_be_led(&self, url: &Address, found: &[SocketAddr]) -> Result<(), String> {
        let Some(place) = self.led_from.filter(|_| self.limited) else { return Ok(()) };
        let here = found.iter().all(|address| is_here(address.ip()));
        let known = match self.remote.is_some_and(|remote| remote.proxy.is_some()) {
            true => here && is_named_here(&url.host),
            false => here || found.iter().all(|address| place.has_ip(address.ip())),
        };
        if known || url.host == place.url.host { Ok(()) } else { Err(format!("{} is on another machine: add --yes to allow it", url.host)) }
    }
}

/// Whom clients of this target trust; `certificate` is the embedded server's own.
pub(crate) fn trust<'a>(target: &'a Target, certificate: Option<&'a str>) -> Trust<'a> {
    match target {
        Target::Embedded(_) => certificate.map_or(Trust::Roots(None), Trust::Only),
        Target::Command(command) => among(command.insecure, command.ca.as_deref()),
        Target::Url(remote) => among(remote.insecure, remote.ca.as_deref()),
    }
}

fn among(insecure: bool, ca: Option<&Path>) -> Trust<'_> {
    if insecure { Trust::Anything } else { Trust::Roots(ca) }
}

/// Resolves a URL, or the proxy on the way to it. Of an untrusted scenario the addresses decide, and not the name; nobody is connected before.
pub(crate) async fn resolve<'a>(url: Address, access: impl Into<Access<'a>>) -> Result<Endpoint, RunError> {
    let access = access.into();
    let wrong = |cause: String| RunError::Address { url: url.to_string(), cause };
    let proxy = access.remote.and_then(|remote| remote.proxy.as_ref()).map(|proxy| &proxy.address);
    let asked = proxy.unwrap_or(&url);
    let given = access.given(asked);
    let found = if given.is_empty() { lookup(asked).await.map_err(wrong)? } else { given };
    if let Some(strange) =
        found.iter().map(SocketAddr::ip).find(|ip| access.remote.is_some_and(|remote| remote.must_be_here) && !is_here(*ip))
    {
        let host = &asked.host;
        let why =
            format!("{host} is {strange}, which is not on this machine, and the scenario is untrusted: allow it by --allow-host {host}");
        return Err(wrong(why));
    }
    access.may_be_led(&url, &found).map_err(wrong)?;
    if access.remote.is_some_and(|remote| matches!(remote.addresses, AddressChoice::InTurn | AddressChoice::Random)) {
        return at_any(url, found, access);
    }
    let address = answering(&found).await.ok_or_else(|| wrong(format!("{} has no address", asked.host)))?;
    let ips: BTreeSet<IpAddr> = found.iter().map(SocketAddr::ip).collect();
    let unused = ips.len().saturating_sub(1);
    // `localhost` is both 127.0.0.1 and ::1, and nobody means two servers by it.
    let all = access.remote.is_some_and(|remote| remote.addresses == AddressChoice::Library) && !is_named_here(&asked.host);
    let found = if all && unused > 0 { found } else { vec![address] };
    Ok(Endpoint { unused, address, ..at_any(url, found, access)? })
}

/// The addresses behind a URL, at least one; an error says what is wrong with the name. A socket of this machine has that of loopback.
pub(crate) async fn lookup(url: &Address) -> Result<Vec<SocketAddr>, String> {
    if url.socket.is_some() {
        return Ok(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))]);
    }
    let host = url.host.as_str();
    let found = tokio::net::lookup_host((host, url.port)).await;
    let found: Vec<_> = found.map_err(|error| format!("cannot resolve {host}: {error}; check the name of the host"))?.collect();
    if found.is_empty() { Err(format!("{host} has no IP address")) } else { Ok(found) }
}

/// Reads a URL.
pub(crate) fn read(url: &str) -> Result<Address, RunError> {
    Address::parse(url).map_err(|cause| RunError::Address { url: mask_address(url), cause: cause.to_owned() })
}

/// A URL whose address is known.
pub(crate) fn at<'a>(url: Address, address: SocketAddr, access: impl Into<Access<'a>>) -> Result<Endpoint, RunError> {
    at_any(url, vec![address], access.into())
}

/// A URL whose addresses, or those of its proxy, are known.
pub(crate) fn at_any(url: Address, addresses: Vec<SocketAddr>, access: Access<'_>) -> Result<Endpoint, RunError> {
    let Access { trust, remote, own, .. } = access;
    let ours = remote.filter(|_| own);
    let certificate = ours.and_then(|remote| remote.certificate.as_ref()).filter(|_| url.secure);
    let shown = certificate.map(|(certificate, key)| tls::shown(certificate, key)).transpose()?;
    let asked = Arc::new(Asked::with(shown));
    let tls = if url.secure {
        let name = ServerName::try_from(ours.and_then(|remote| remote.sni.clone()).unwrap_or_else(|| url.host.clone()));
        let name = name.map_err(|error| RunError::Address { url: url.to_string(), cause: error.to_string() })?;
        let mut config = tls::client(trust)?;
        let settings = Arc::make_mut(&mut config);
        settings.client_auth_cert_resolver = asked.clone();
        settings.alpn_protocols = ours.iter().flat_map(|remote| &remote.alpn).map(|name| name.clone().into_bytes()).collect();
        Some(Tls { config, name })
    } else {
        None
    };
    let address = addresses.first().copied().ok_or_else(|| RunError::Address { url: url.to_string(), cause: "no address".into() })?;
    let connect = remote.and_then(|remote| remote.proxy.as_ref()).map(|proxy| connect_head(&url, &proxy.address));
    let detour = (connect.is_some() || url.socket.is_some() || addresses.len() > 1).then(|| {
        let choice = remote.map_or(AddressChoice::First, |remote| remote.addresses);
        Box::new(Detour { addresses, choice, socket: url.socket.clone(), connect })
    });
    Ok(Endpoint { url, address, unused: 0, detour, tls, asked, memory: None, key: None })
}

/// The head of a CONNECT request (RFC 9110 §9.3.6).
fn connect_head(url: &Address, proxy: &Address) -> Vec<u8> {
    let host = if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
    let place = format!("{host}:{}", url.port);
    let nobody = TemplateValues { client: "0".into(), attempt: "0".into(), own: None };
    let credentials = proxy.authorization(&nobody).map(|value| format!("Proxy-Authorization: {value}\r\n")).unwrap_or_default();
    format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n{credentials}\r\n").into_bytes()
}

/// The first address that takes a TCP connect, or the first where none does: `localhost` is often ::1 and 127.0.0.1, and only one of
/// them served.
async fn answering(addresses: &[SocketAddr]) -> Option<SocketAddr> {
    if addresses.len() > 1 {
        for address in addresses {
            if matches!(timeout(CONNECT_WITHIN, TcpStream::connect(address)).await, Ok(Ok(_))) {
                return Some(*address);
            }
        }
    }
    addresses.first().copied()
}
