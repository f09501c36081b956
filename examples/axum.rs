//! Tests the deploys of an axum server: every client is to see close code 1001, and to be back soon. `cargo run --example axum` passes;
//! `cargo run --example axum -- forget` fails, as the server then forgets the Close frame.

use axum::Router;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::routing::any;
use closestorm::api::{Outcome, Scenario, Subscription};
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Clients of the test.
const CLIENTS: u32 = 200;
/// Deploys in a run. 299 times are needed for a 99th percentile.
const DEPLOYS: u64 = 2;

/// The server under test: an echo server, until it is told to shut down.
struct Server {
    address: SocketAddr,
    shut_down: watch::Sender<bool>,
    serving: JoinHandle<io::Result<()>>,
}

impl Server {
    /// Starts it; port 0 is any free one. `says_goodbye`: its graceful shutdown closes WebSockets as RFC 6455 wants it.
    async fn start(address: SocketAddr, says_goodbye: bool) -> io::Result<Server> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (shut_down, shutdown) = watch::channel(false);
        let sessions = shutdown.clone();
        let upgrade = move |upgrade: WebSocketUpgrade| {
            let shutdown = sessions.clone();
            async move { upgrade.on_upgrade(move |socket| session(socket, shutdown, says_goodbye)) }
        };
        let app = Router::new().route("/", any(upgrade));
        let serving = tokio::spawn(axum::serve(listener, app).with_graceful_shutdown(told(shutdown)).into_future());
        Ok(Server { address, shut_down, serving })
    }

    /// Shuts it down gracefully, and starts the next version at the same address.
    async fn deploy(self, says_goodbye: bool) -> Result<Server, Box<dyn Error + Send + Sync>> {
        self.shut_down.send_replace(true);
        self.serving.await??;
        Ok(Server::start(self.address, says_goodbye).await?)
    }
}

async fn told(mut shutdown: watch::Receiver<bool>) {
    drop(shutdown.wait_for(|told| *told).await);
}

/// One WebSocket: sends back what comes, until the client goes or the server shuts down.
async fn session(mut socket: WebSocket, shutdown: watch::Receiver<bool>, says_goodbye: bool) {
    let mut shutdown = Box::pin(told(shutdown));
    loop {
        tokio::select! {
            message = socket.recv() => match message {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    if socket.send(message).await.is_err() {
                        return;
                    }
                }
                // axum answers pings.
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return,
            },
            () = &mut shutdown => break,
        }
    }
    if says_goodbye {
        let frame = CloseFrame { code: close_code::AWAY, reason: "deploy".into() };
        // A client that is gone needs no goodbye; the others answer it.
        if socket.send(Message::Close(Some(frame))).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {}
        }
    }
    // Without: the socket is dropped, and the client sees 1006.
}

/// Deploys again and again, each time when everybody is back from the time before.
async fn deploys(mut server: Server, mut live: Subscription, says_goodbye: bool) -> Result<(), Box<dyn Error + Send + Sync>> {
    let all = u64::from(CLIENTS);
    for deploy in 0..DEPLOYS {
        while let Some(update) = live.next().await {
            if update.state.ready == all && update.state.recovered >= all * deploy {
                break;
            }
        }
        server = server.deploy(says_goodbye).await?;
    }
    // The last version serves on.
    server.serving.await??;
    Ok(())
}

/// The test: 200 clients, and what they saw of two deploys.
pub(crate) async fn test_deploys(says_goodbye: bool) -> Result<Outcome, Box<dyn Error + Send + Sync>> {
    let server = Server::start("127.0.0.1:0".parse()?, says_goodbye).await?;
    let url = format!("http://{}/", server.address);
    let run = Scenario::from_toml(include_str!("deploy.toml"))?.target_url(url).clients("web", CLIENTS).run();
    let deploying = tokio::spawn(deploys(server, run.subscribe(), says_goodbye));
    let outcome = run.await?;
    deploying.abort();
    Ok(outcome)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let says_goodbye = std::env::args().nth(1).as_deref() != Some("forget");
    let run = test_deploys(says_goodbye).await?;
    println!("{}", run.text(100));
    run.assert();
    assert!(run.cohort("web").reconnect().p99().is_some_and(|time| time < Duration::from_secs(5)));
    Ok(())
}
