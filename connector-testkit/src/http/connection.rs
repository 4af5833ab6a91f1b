//! One connection: requests in, replies out. RFC 9112.

use std::{fmt::Write as _, io};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream},
    net::TcpStream,
};

use super::{reply::End, request::HttpRequest, server::Shared};

/// No head of a request and no body of one is larger; a test that sends more is wrong.
const MOST: usize = 16 << 20;

pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    connection: usize,
    client_certificate: Option<Vec<u8>>,
    shared: &Shared,
) -> io::Result<()> {
    let mut stream = BufStream::new(stream);
    while let Some(mut request) = next(&mut stream).await? {
        request.connection = connection;
        request.client_certificate.clone_from(&client_certificate);
        let is_head = request.method == "HEAD";
        // RFC 9110, 9.3.6: a proxy joins the client and the host that it names.
        let joins = request.method == "CONNECT";
        let reply = shared.answer(&request);
        if let Some(host) = shared.tunnel
            && joins
            && reply.status == 200
        {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            stream.flush().await?;
            let mut host = TcpStream::connect(host).await?;
            tokio::io::copy_bidirectional(&mut stream, &mut host).await?;
            return Ok(());
        }
        match reply.end {
            End::CutAtOnce => return Ok(()),
            End::HangAtOnce => std::future::pending().await,
            End::Whole | End::Cut | End::Hang => {}
        }
        let mut head = format!("HTTP/1.1 {} Scripted\r\n", reply.status);
        for (name, value) in &reply.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let named = |header: &str| {
            let mut names = reply.headers.iter().map(|(name, _)| name);
            names.any(|name| name.eq_ignore_ascii_case(header))
        };
        // What does not end can't say how long it is, unless the script does.
        let chunked =
            (reply.end != End::Whole || reply.chunks.len() > 1) && !named("content-length");
        let length: usize = reply.chunks.iter().map(Vec::len).sum();
        if chunked {
            head.push_str("transfer-encoding: chunked\r\n");
        } else if !named("content-length") && reply.status != 204 && reply.status != 304 {
            let _ = write!(head, "content-length: {length}\r\n");
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).await?;
        if !is_head {
            for chunk in &reply.chunks {
                if chunked {
                    let size = format!("{:x}\r\n", chunk.len());
                    stream.write_all(size.as_bytes()).await?;
                }
                stream.write_all(chunk).await?;
                if chunked {
                    stream.write_all(b"\r\n").await?;
                }
                stream.flush().await?;
            }
            if chunked && reply.end == End::Whole {
                stream.write_all(b"0\r\n\r\n").await?;
            }
        }
        stream.flush().await?;
        match reply.end {
            End::Whole => {}
            End::Hang => std::future::pending().await,
            _ => return Ok(()),
        }
    }
    Ok(())
}

/// Reads a request. What is none, such as the start of TLS, is told so.
async fn next<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufStream<S>,
) -> io::Result<Option<HttpRequest>> {
    let request = read(stream).await;
    if let Err(error) = &request
        && error.kind() == io::ErrorKind::InvalidData
    {
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")
            .await?;
        stream.flush().await?;
    }
    request
}

async fn read<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufStream<S>,
) -> io::Result<Option<HttpRequest>> {
    let Some(start) = line(stream).await?.filter(|line| !line.is_empty()) else {
        return Ok(None);
    };
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut words = start.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(wrong("no request line"));
    };
    let mut request = HttpRequest::new(method, target);
    while let Some(line) = line(stream).await?.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or_else(|| wrong("no header"))?;
        let header = (name.to_ascii_lowercase(), value.trim().to_owned());
        request.headers.push(header);
    }
    let length = request.header("content-length").unwrap_or("0").parse();
    let length: usize = length.map_err(|_| wrong("no length"))?;
    if length > MOST || request.header("transfer-encoding").is_some() {
        return Err(wrong("a body that tests do not send"));
    }
    request.body = vec![0; length];
    stream.read_exact(&mut request.body).await?;
    Ok(Some(request))
}

/// Reads a line without its end; none at the end of the connection.
async fn line<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufStream<S>,
) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    loop {
        match stream.read_u8().await {
            Ok(b'\n') => break,
            Ok(byte) if line.len() < MOST && (byte >= b' ' || byte == b'\r' || byte == b'\t') => {
                line.push(byte);
            }
            Ok(_) => return Err(io::ErrorKind::InvalidData.into()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Some(String::from_utf8_lossy(&line).into_owned()))
}
