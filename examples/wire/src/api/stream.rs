//! Bodies of answers that are sent while they are still made.
//!
//! The beginning of an answer is kept until it is [`HELD_BYTES`] long: as long as nothing was sent an
//! error can be told as one. What comes after that waits for the client, a few pieces at most.
//! An answer that fails on the way ends without its end, which clients take for an error.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::body::Body;
use bytes::Bytes;
use http_body::Frame;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout_at;

/// Bytes of an answer that are kept before anything is sent.
pub(super) const HELD_BYTES: usize = 2 << 20;

/// Bytes of a piece, and so of what is handed to the connection at once.
const PIECE_BYTES: usize = 128 << 10;

/// Pieces that wait for the client.
const WAITING_PIECES: usize = 4;

/// Takes an answer in, and sends it once it is long.
pub(super) struct BodyWriter {
    /// What was not sent yet.
    pub(super) out: Vec<u8>,
    sender: Sender<Bytes>,
    is_sending: bool,
    /// Whether all of the answer was sent.
    is_whole: Arc<AtomicBool>,
    deadline: Instant,
}

/// The client is gone, or did not read for too long.
#[derive(Debug)]
pub(super) struct Gone;

/// Makes a writer, whose client has to read what is sent before `deadline`, and what it sends.
pub(super) fn body(deadline: Instant) -> (BodyWriter, Pieces) {
    let (sender, pieces) = channel(WAITING_PIECES);
    let is_whole = Arc::new(AtomicBool::new(false));
    let pieces = Pieces { pieces, is_whole: is_whole.clone() };
    (BodyWriter { out: Vec::new(), sender, is_sending: false, is_whole, deadline }, pieces)
}

impl BodyWriter {
    /// Sends what is there if that is enough. Blocks while the client does not read.
    pub(super) fn flush(&mut self) -> Result<(), Gone> {
        let enough = if self.is_sending { PIECE_BYTES } else { HELD_BYTES };
        if self.out.len() < enough { Ok(()) } else { self.send() }
    }

    /// Ends the answer with what is left. If nothing was sent, all of it is returned.
    pub(super) fn finish(mut self) -> Option<Vec<u8>> {
        if !self.is_sending {
            return Some(self.out);
        }
        let sent = self.send();
        self.is_whole.store(sent.is_ok(), Ordering::Release);
        None
    }

    fn send(&mut self) -> Result<(), Gone> {
        self.is_sending = true;
        let mut rest = Bytes::from(std::mem::take(&mut self.out));
        while !rest.is_empty() {
            let piece = rest.split_to(PIECE_BYTES.min(rest.len()));
            let sending = timeout_at(self.deadline.into(), self.sender.send(piece));
            match Handle::current().block_on(sending) {
                Ok(Ok(())) => {}
                _ => return Err(Gone),
            }
        }
        Ok(())
    }
}

/// The pieces of an answer as they come.
pub(super) struct Pieces {
    pieces: Receiver<Bytes>,
    is_whole: Arc<AtomicBool>,
}

impl Pieces {
    /// Waits for the first piece; `None` if the answer ended without one.
    pub(super) async fn first(&mut self) -> Option<Bytes> {
        self.pieces.recv().await
    }

    /// The body that begins with `first`. `guard` is dropped with it.
    pub(super) fn into_body<G: Send + Unpin + 'static>(self, first: Bytes, guard: G) -> Body {
        Body::new(Streamed { first: Some(first), rest: self, _guard: guard })
    }
}

struct Streamed<G> {
    first: Option<Bytes>,
    rest: Pieces,
    _guard: G,
}

impl<G: Unpin> http_body::Body for Streamed<G> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let piece = ready!(self.rest.pieces.poll_recv(cx));
        let end = || {
            let is_whole = self.rest.is_whole.load(Ordering::Acquire);
            // An error closes the connection without the end of the body.
            (!is_whole).then(|| Err(io::ErrorKind::UnexpectedEof.into()))
        };
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))).or_else(end))
    }
}
