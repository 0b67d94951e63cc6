//! Connections of the HTTP server: how many there may be, and for how long one may stand still.
//!
//! Every connection takes a file descriptor from those that the store needs for its log and its
//! blocks. So there is a bound, beyond which clients wait in the backlog of the operating system,
//! and one whose peer has silently gone gives its place back.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

use super::web::Guard;

/// Connections open at the same time; more wait.
pub(super) const MAX_CONNECTIONS: usize = 512;

/// How long a connection may stand still before it is closed, whatever it stands still for. Longer
/// than the longest query.
pub(super) const MAX_IDLE: Duration = Duration::from_secs(600);

/// A listener that bounds its connections.
pub(super) struct BoundedListener {
    listener: TcpListener,
    /// Who may ask, and over what; everybody over nothing without it.
    guard: Option<Arc<Guard>>,
    places: Arc<Semaphore>,
    max_idle: Duration,
}

impl BoundedListener {
    pub(super) fn new(listener: TcpListener, max_connections: usize, max_idle: Duration) -> Self {
        let places = Arc::new(Semaphore::new(max_connections));
        Self { listener, guard: None, places, max_idle }
    }

    /// Has connections be what a web configuration wants.
    pub(super) fn guarded(self, guard: Option<Arc<Guard>>) -> Self {
        Self { guard, ..self }
    }
}

impl Listener for BoundedListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let place = self.places.clone().acquire_owned().await;
        let place = place.expect("the places are never closed");
        let (stream, address) = Listener::accept(&mut self.listener).await;
        // Answers are written whole, so there is nothing to wait for. Without the option they are
        // late, no more.
        let _ = stream.set_nodelay(true);
        let tls = self.guard.as_ref().and_then(|guard| guard.web().tls());
        let stream = match tls {
            None => Stream::Plain(stream),
            // Whoever connects shakes hands in the task of the connection, and keeps nobody waiting.
            Some(tls) => Stream::Greeting(Box::new(TlsAcceptor::from(tls).accept(stream))),
        };
        let max_idle = self.max_idle;
        let idle = Box::pin(sleep(max_idle));
        (Connection { stream, idle, max_idle, _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// What the bytes of a connection go through.
enum Stream {
    Plain(TcpStream),
    /// Keys are not agreed upon yet.
    Greeting(Box<Accept<TcpStream>>),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Shakes hands, unless that is done.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Self::Greeting(accept) = self {
            let stream = ready!(Pin::new(&mut **accept).poll(cx))?;
            *self = Self::Tls(Box::new(stream));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_ready(cx))?;
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
            Self::Greeting(_) => Poll::Pending,
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_ready(cx))?;
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
            Self::Greeting(_) => Poll::Pending,
        }
    }

    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_ready(cx))?;
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write_vectored(cx, slices),
            Self::Greeting(_) => Poll::Pending,
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::Greeting(_) => false,
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
            Self::Greeting(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
            Self::Greeting(_) => Poll::Ready(Ok(())),
        }
    }
}

/// A connection that has its place until it is closed.
pub(super) struct Connection {
    stream: Stream,
    /// Ends when nothing was read or written for too long.
    idle: Pin<Box<Sleep>>,
    max_idle: Duration,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// Hands on what reading or writing came to, unless there was nothing to hand on for too long.
    fn check<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.idle.as_mut().reset(Instant::now() + self.max_idle);
            return outcome;
        }
        ready!(self.idle.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = this.stream.poll_read(cx, buf);
        this.check(cx, outcome)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = this.stream.poll_write(cx, bytes);
        this.check(cx, outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = this.stream.poll_write_vectored(cx, slices);
        this.check(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream.poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::TcpStream;

    use axum::Router;
    use axum::routing::get;
    use tokio::task::spawn_blocking;

    use super::*;

    async fn serve(max_connections: usize, max_idle: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let listener = BoundedListener::new(listener, max_connections, max_idle);
        let router = Router::new().route("/", get(async || "hello"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    /// Connects, which the operating system lets anyone do, and sends `bytes`.
    fn send(address: SocketAddr, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.write_all(bytes).expect("it is open");
        stream
    }

    fn is_answered_within(stream: &mut TcpStream, longest: Duration) -> bool {
        stream.set_read_timeout(Some(longest)).expect("a time above zero");
        stream.read_exact(&mut [0; 12]).is_ok()
    }

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    #[tokio::test]
    async fn a_connection_that_stands_still_is_closed() {
        let address = serve(9, Duration::from_millis(20)).await;
        let client = spawn_blocking(move || {
            let mut stream = send(address, b"GET / HTTP/1.1\r\nHost: x\r\nX-Half");
            stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time above zero");
            match stream.read(&mut [0; 12]) {
                Ok(count) => assert_eq!(count, 0, "half a request was answered"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
            }
        });
        client.await.expect("the client is content");
    }

    #[tokio::test]
    async fn clients_wait_until_there_is_a_place() {
        let address = serve(1, Duration::from_secs(60)).await;
        let client = spawn_blocking(move || {
            let mut first = send(address, REQUEST);
            assert!(is_answered_within(&mut first, Duration::from_secs(30)));
            let mut second = send(address, REQUEST);
            assert!(!is_answered_within(&mut second, Duration::from_millis(50)));
            drop(first);
            assert!(is_answered_within(&mut second, Duration::from_secs(30)));
        });
        client.await.expect("the client is content");
    }
}
