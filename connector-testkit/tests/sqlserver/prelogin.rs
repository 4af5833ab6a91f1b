//! The scripted server's answers to PRELOGIN, against the table of the protocol document.

use connector_testkit::tds::{Encryption, Script};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A PRELOGIN with VERSION, ENCRYPTION and INSTOPT: [MS-TDS] 2.2.6.5.
fn prelogin(encryption: u8) -> Vec<u8> {
    let options = [0, 0, 16, 0, 6, 1, 0, 22, 0, 1, 2, 0, 23, 0, 1, 0xFF];
    let data = [17, 0, 3, 232, 0, 0, encryption, 0];
    let length = u8::try_from(8 + options.len() + data.len()).unwrap();
    [&[0x12, 1, 0, length, 0, 0, 1, 0], &options[..], &data[..]].concat()
}

/// The data of an option of a PRELOGIN.
pub(crate) fn option(message: &[u8], token: u8) -> Option<&[u8]> {
    let options = message.chunks_exact(5);
    let mut options = options.take_while(|option| option[0] != 0xFF);
    let found = options.find(|option| option[0] == token)?;
    let number = |at: usize| usize::from(u16::from_be_bytes([found[at], found[at + 1]]));
    message.get(number(1)..number(1) + number(3))
}

const OFF: u8 = 0;
const ON: u8 = 1;
const NOT_SUPPORTED: u8 = 2;
const REQUIRED: u8 = 3;

#[tokio::test]
async fn encryption_follows_the_table() {
    for (set, asked, answered, goes_on) in [
        (Encryption::Offered, OFF, OFF, true),
        (Encryption::Offered, ON, ON, true),
        (Encryption::Offered, NOT_SUPPORTED, NOT_SUPPORTED, true),
        (Encryption::Offered, REQUIRED, ON, true),
        (Encryption::Required, OFF, REQUIRED, true),
        (Encryption::Required, ON, ON, true),
        (Encryption::Required, NOT_SUPPORTED, REQUIRED, false),
        (Encryption::Required, REQUIRED, ON, true),
        (Encryption::NotSupported, OFF, NOT_SUPPORTED, true),
        (Encryption::NotSupported, ON, NOT_SUPPORTED, false),
        (Encryption::NotSupported, NOT_SUPPORTED, NOT_SUPPORTED, true),
        (Encryption::NotSupported, REQUIRED, NOT_SUPPORTED, false),
    ] {
        let server = Script::new().encryption(set).start().await;
        let mut tcp = TcpStream::connect(("127.0.0.1", server.port()))
            .await
            .unwrap();
        tcp.write_all(&prelogin(asked)).await.unwrap();
        let mut answer = [0; 512];
        let length = tcp.read(&mut answer).await.unwrap();
        let message = &answer[8..length];
        assert_eq!(option(message, 1), Some(&[answered][..]), "{set:?} {asked}");
        assert_eq!(option(message, 2), Some(&[0][..]), "the instance is right");
        assert_eq!(option(message, 4), None, "was not asked");
        if !goes_on {
            assert_eq!(tcp.read(&mut answer).await.unwrap(), 0, "{set:?} {asked}");
        }
    }
}
