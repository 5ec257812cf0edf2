//! A stream body that a status can end before its producer does.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Frame, SizeHint};
use tonic::{Status, body::Body};

/// A body that ends when `ended` resolves: the next read yields its status as trailers.
pub(crate) struct Until<F> {
    pub(crate) body: Body,
    pub(crate) ended: Pin<Box<F>>,
}

impl<F: Future<Output = Status>> http_body::Body for Until<F> {
    type Data = <Body as http_body::Body>::Data;
    type Error = <Body as http_body::Body>::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.get_mut();
        if this.body.is_end_stream() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(status) = this.ended.as_mut().poll(context) {
            // Dropping the body drops its producer too.
            this.body = Body::empty();
            let mut trailers = http::HeaderMap::new();
            return Poll::Ready(Some(match status.add_header(&mut trailers) {
                Ok(()) => Ok(Frame::trailers(trailers)),
                Err(error) => Err(error),
            }));
        }
        Pin::new(&mut this.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
