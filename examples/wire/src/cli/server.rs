//! The HTTP server of a program: bound first, refusing requests while the store is opened, then
//! serving until a signal ends it.

use std::future::IntoFuture;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};
use tower::ServiceExt;
use tracing::{info, warn};

use super::ServerFlags;
use super::connection::{BoundedListener, MAX_CONNECTIONS, MAX_IDLE};
use super::web::{self, Guard, WebFile};
use crate::Error;
use crate::api::{ApiBuilder, Quit};

/// How long requests under way may go on after a signal to stop.
pub const GRACE_PERIOD: Duration = Duration::from_secs(5);

/// What answers requests, once it is there.
type Slot = Arc<OnceLock<Router>>;

/// A server that has its address. Until it is told what to serve, it is alive but not ready.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    is_tls: bool,
    slot: Slot,
    stop: oneshot::Sender<()>,
    quit: Quit,
    flags: ServerFlags,
    serving: JoinHandle<io::Result<()>>,
}

impl Server {
    /// Binds the address of `flags`, and answers that the program is starting.
    ///
    /// # Errors
    /// [`Error::Listen`] if it is taken, or none of this machine; [`Error::Web`] if the web configuration
    /// cannot be used.
    pub async fn bind(flags: &ServerFlags) -> Result<Self, Error> {
        let failed = |source| Error::Listen { address: flags.listen.clone(), source };
        let web = flags.web_config.as_deref().map(WebFile::read).transpose()?;
        let guard = web.map(|web| Arc::new(Guard::new(web)));
        let is_tls = guard.as_ref().is_some_and(|guard| guard.web().tls().is_some());
        let listener = TcpListener::bind(&flags.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let listener =
            BoundedListener::new(listener, MAX_CONNECTIONS, MAX_IDLE).guarded(guard.clone());
        let slot = Slot::default();
        let mut router = Router::new().fallback(dispatch).with_state(Arc::clone(&slot));
        if let Some(guard) = guard {
            router = router.layer(middleware::from_fn_with_state(guard, web::guard));
        }
        let (stop, stopped) = oneshot::channel::<()>();
        let server = axum::serve(listener, router).with_graceful_shutdown(async {
            let _ = stopped.await;
        });
        let serving = tokio::spawn(server.into_future());
        let (quit, flags) = (Quit::default(), flags.clone());
        Ok(Self { address, is_tls, slot, stop, quit, flags, serving })
    }

    /// Address at which this machine reaches the server.
    pub fn local_address(&self) -> SocketAddr {
        let ip = match self.address.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        SocketAddr::new(ip, self.address.port())
    }

    /// Has an API do what the flags say of it.
    pub fn configure(&self, api: ApiBuilder) -> ApiBuilder {
        let quit = self.flags.enable_lifecycle.then(|| self.quit.clone());
        let api = api.quit(quit);
        match &self.flags.cors_origin {
            Some(origins) => api.cors_origin(origins.clone()),
            None => api,
        }
    }

    /// Sets what is served.
    pub(super) fn set_router(&self, router: Router) {
        self.slot.get_or_init(|| router);
    }

    /// Serves `router` until SIGINT or SIGTERM, and then gives requests under way
    /// [`GRACE_PERIOD`] to end; a second signal ends the wait.
    ///
    /// # Errors
    /// [`Error::Listen`] if signals cannot be waited for or connections not be accepted.
    pub async fn serve(mut self, router: Router) -> Result<(), Error> {
        let address = self.address;
        let failed = |source| Error::Listen { address: address.to_string(), source };
        let ended = |outcome: Result<io::Result<()>, JoinError>| {
            outcome.map_err(io::Error::other).flatten().map_err(failed)
        };
        let mut signals = Signals::new().map_err(failed)?;
        self.set_router(router);
        announce(if self.is_tls { "https" } else { "http" }, address);
        tokio::select! {
            outcome = &mut self.serving => return ended(outcome),
            signal = signals.next() => info!(signal, "stopping"),
            () = self.quit.asked() => info!("stopping as a request asked"),
        }
        drop(self.stop);
        tokio::select! {
            outcome = &mut self.serving => ended(outcome)?,
            () = tokio::time::sleep(GRACE_PERIOD) => warn!("cut off requests that went on"),
            signal = signals.next() => warn!(signal, "cut off requests under way"),
        }
        Ok(())
    }
}

/// Hands a request on, or tells that there is nothing to hand it to yet.
async fn dispatch(State(slot): State<Slot>, request: Request) -> Response {
    match slot.get() {
        Some(router) => match router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
        None if request.uri().path() == "/-/healthy" => "Starting.\n".into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "Starting.\n").into_response(),
    }
}

/// Tells on standard output where the server is, for scripts and for people.
fn announce(scheme: &str, address: SocketAddr) {
    let mut stdout = io::stdout().lock();
    // A closed standard output is no reason not to serve.
    let _ = writeln!(stdout, "listening on {scheme}://{address}").and_then(|()| stdout.flush());
}

/// The signals that end a program.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    #[cfg(unix)]
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }

    #[cfg(not(unix))]
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    async fn next(&mut self) -> &'static str {
        match tokio::signal::ctrl_c().await {
            Ok(()) => "Ctrl-C",
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;

    use super::super::LogLevel;
    use super::*;
    use crate::client::{ClientOptions, HttpClient};
    use crate::config::ClientConfig;

    fn flags(listen: &str) -> ServerFlags {
        ServerFlags {
            listen: listen.to_owned(),
            log_level: LogLevel::Error,
            enable_lifecycle: false,
            cors_origin: None,
            web_config: None,
        }
    }

    async fn status(url: &str) -> u16 {
        let config = ClientConfig::default();
        let client = HttpClient::new(&config, ClientOptions::default()).expect("a client");
        let request = client.get(url).await.expect("nothing is secret");
        request.send().await.expect("an answer").status().as_u16()
    }

    #[tokio::test]
    async fn requests_are_refused_until_there_is_something_to_serve() {
        let flags = flags("127.0.0.1:0");
        let server = Server::bind(&flags).await.expect("a free port");
        let url = format!("http://{}", server.local_address());
        assert_eq!(status(&format!("{url}/-/healthy")).await, 200);
        assert_eq!(status(&format!("{url}/-/ready")).await, 503);
        assert_eq!(status(&format!("{url}/greeting")).await, 503);
        let router = Router::new().route("/greeting", get(async || "hello"));
        server.set_router(router);
        assert_eq!(status(&format!("{url}/greeting")).await, 200);
        assert_eq!(status(&format!("{url}/other")).await, 404);
    }

    #[tokio::test]
    async fn a_taken_address_is_an_error() {
        let taken = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = taken.local_addr().expect("it is bound").to_string();
        let flags = flags(&address);
        let error = Server::bind(&flags).await.expect_err("the address is taken");
        assert_eq!(error.to_string(), format!("cannot listen on {address}"));
    }
}
