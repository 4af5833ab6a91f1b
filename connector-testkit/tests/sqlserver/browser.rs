//! The SQL Server Browser of the kit, asked as the protocol document says.

use connector_testkit::{BrowserAnswer, SqlBrowser};
use tokio::net::UdpSocket;

/// Asks for an instance: 0x04, its name, 0x00; [MC-SQLR] 2.2.3.
async fn ask(browser: &SqlBrowser, name: &str) -> UdpSocket {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    let question = [&[4], name.as_bytes(), &[0]].concat();
    let to = ("127.0.0.1", browser.port());
    socket.send_to(&question, to).await.unwrap();
    socket
}

async fn answer(socket: &UdpSocket) -> Vec<u8> {
    let mut datagram = vec![0; 2048];
    let length = socket.recv(&mut datagram).await.unwrap();
    datagram.truncate(length);
    datagram
}

async fn text(answered: BrowserAnswer) -> String {
    let browser = SqlBrowser::start(answered).await;
    let datagram = answer(&ask(&browser, "CM").await).await;
    let [5, low, high, text @ ..] = &datagram[..] else {
        panic!("{datagram:?}");
    };
    assert_eq!(usize::from(u16::from_le_bytes([*low, *high])), text.len());
    assert_eq!(browser.asked(), ["CM"]);
    String::from_utf8(text.to_vec()).unwrap()
}

#[tokio::test]
async fn the_port_of_an_instance_or_of_another_or_none() {
    let whole = text(BrowserAnswer::Port(51433)).await;
    assert!(
        whole.starts_with("ServerName;TCP-TEST;InstanceName;CM;IsClustered;No;"),
        "{whole}"
    );
    assert!(
        whole.contains(";tcp;51433;") && whole.ends_with(";;"),
        "{whole}"
    );
    let other = text(BrowserAnswer::OtherInstance("OTHER".to_owned(), 1)).await;
    assert!(other.contains(";InstanceName;OTHER;"), "{other}");
    let none = text(BrowserAnswer::TcpDisabled).await;
    assert!(!none.contains(";tcp;"), "{none}");
}

#[tokio::test]
async fn silence_then_garbage_then_the_answer() {
    let browser = SqlBrowser::start_with(|number| match number {
        0 => BrowserAnswer::Silence,
        1 => BrowserAnswer::Raw(b"\x05garbage".to_vec()),
        _ => BrowserAnswer::Port(1),
    })
    .await;
    let _unanswered = ask(&browser, "CM").await;
    let garbage = ask(&browser, "CM").await;
    assert_eq!(answer(&garbage).await, b"\x05garbage");
    let answered = ask(&browser, "CM").await;
    assert_eq!(answer(&answered).await[0], 5);
    assert_eq!(browser.asked().len(), 3);
}
