//! https: what is trusted, and what is not.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};
use tidewire_client::{Client, DisconnectReason, NewEvent, RequestError, TcpConnector, Update};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::{STREAM, Server, all, close, messages, quick, serve, status};

fn certificate() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a name to certify");
    (made.cert.der().clone(), PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into()))
}

/// Serves over TLS, and returns the URL and the certificate.
async fn listen(server: &Server) -> (String, CertificateDer<'static>) {
    let (certificate, key) = certificate();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has their suites")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("the key is that of the certificate");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let port = listener.local_addr().expect("a listener has an address").port();
    let server = server.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (server, acceptor) = (server.clone(), acceptor.clone());
            tokio::spawn(async move {
                // A client that does not trust us goes away here.
                if let Ok(stream) = acceptor.accept(stream).await {
                    server.serve(stream).await;
                }
            });
        }
    });
    (format!("https://localhost:{port}"), certificate)
}

fn trusting(url: &str, certificate: CertificateDer<'static>) -> Client {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("a certificate");
    quick(Client::with_connector(url, Arc::new(TcpConnector::with_roots(roots))).expect("a URL"))
}

#[tokio::test]
async fn a_trusted_server_is_read_and_published_to() {
    let published = serve(status("200 OK", "", r#"{"ids":["1"]}"#));
    let server = Server::new([published, close(format!("{STREAM}id: 1\ndata: a\n\n"))]);
    let (url, certificate) = listen(&server).await;
    let client = trusting(&url, certificate);
    assert_eq!(client.publish(&[NewEvent::text("t", "a")]).await.expect("the server takes it"), ["1"]);
    assert_eq!(messages(&all(&mut client.subscribe()).await), [("1", "a")]);
}

#[tokio::test]
async fn a_certificate_or_name_that_is_not_trusted_fails_the_connection() {
    let server = Server::new([]);
    let (url, trusted) = listen(&server).await;
    let by_address = url.replace("localhost", "127.0.0.1");
    for (url, certificate) in [(&url, certificate().0), (&by_address, trusted)] {
        let update = trusting(url, certificate).subscribe().next().await;
        let Some(Update::Disconnected { reason: DisconnectReason::Request(RequestError::Connect(error)), .. }) = update
        else {
            panic!("{update:?}")
        };
        assert!(error.to_string().contains("certificate"), "{error}");
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_connector_without_tls_does_not_fall_back_to_none() {
    let client = Client::with_connector("https://localhost:1", Arc::new(TcpConnector::plain())).expect("a URL");
    let update = client.subscribe().next().await;
    let Some(Update::Disconnected { reason: DisconnectReason::Request(RequestError::Connect(error)), .. }) = update
    else {
        panic!("{update:?}")
    };
    assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
}
