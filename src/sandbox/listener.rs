//! Connections that can be cut in mid-answer, and a host that can go down and come back under the
//! same address.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Accepts connections while the host is up.
pub(super) struct Host {
    listener: Option<TcpListener>,
    address: SocketAddr,
    is_up: watch::Receiver<bool>,
}

/// One connection.
pub(super) struct Connection {
    stream: TcpStream,
    cut: Cut,
    is_up: watch::Receiver<bool>,
}

/// Ends a connection without an answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Cut(Arc<AtomicBool>);

impl Cut {
    pub(super) fn now(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Host {
    pub(super) async fn bind(
        address: SocketAddr,
        is_up: watch::Receiver<bool>,
    ) -> io::Result<Host> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Host { listener: Some(listener), address, is_up })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    async fn next(&mut self) -> (Connection, Cut) {
        loop {
            if !*self.is_up.borrow_and_update() {
                self.listener = None;
                if self.is_up.wait_for(|is_up| *is_up).await.is_err() {
                    // Whoever could bring the host back is gone.
                    std::future::pending::<()>().await;
                }
                continue;
            }
            let Some(listener) = &self.listener else {
                match TcpListener::bind(self.address).await {
                    Ok(listener) => self.listener = Some(listener),
                    // Someone else may hold the port for a moment.
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
                continue;
            };
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    // Small answers must not wait for more to send.
                    let _ = stream.set_nodelay(true);
                    let cut = Cut::default();
                    let connection =
                        Connection { stream, cut: cut.clone(), is_up: self.is_up.clone() };
                    return (connection, cut);
                }
                changed = self.is_up.changed() => {
                    if changed.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
            }
        }
    }
}

impl Listener for Host {
    type Io = Connection;
    type Addr = Cut;

    fn accept(&mut self) -> impl Future<Output = (Connection, Cut)> + Send {
        self.next()
    }

    fn local_addr(&self) -> io::Result<Cut> {
        Ok(Cut::default())
    }
}

impl Connected<IncomingStream<'_, Host>> for Cut {
    fn connect_info(stream: IncomingStream<'_, Host>) -> Cut {
        stream.remote_addr().clone()
    }
}

impl Connection {
    fn check(&self) -> io::Result<()> {
        if self.cut.0.load(Ordering::SeqCst) || !*self.is_up.borrow() {
            return Err(io::Error::from(io::ErrorKind::ConnectionReset));
        }
        Ok(())
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() {
            self.check()?;
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
}
