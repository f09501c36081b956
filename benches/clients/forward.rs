//! The forwarder: what tokio offers for a proxy and nothing else, a task for each connection with `copy_bidirectional`. One thread.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpSocket, TcpStream};

/// Forwards connections from one port of loopback to another, for ever.
pub(crate) fn run(port: u16, upstream: u16, backlog: u32) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into())?;
        let listener = socket.listen(backlog)?;
        loop {
            let (mut near, _) = listener.accept().await?;
            tokio::spawn(async move {
                let mut far = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream)).await?;
                near.set_nodelay(true)?;
                far.set_nodelay(true)?;
                copy_bidirectional(&mut near, &mut far).await
            });
        }
    })
}
