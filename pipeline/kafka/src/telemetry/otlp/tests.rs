//! Against bytes that the Python package opentelemetry-proto 1.45 made of the same spans.

use fillstream_core::trace::TraceContext;

use super::*;

const GOLDEN: &str = "\
    0ad4040a630a270a0c736572766963652e6e616d6512170a1566696c6c73747265616d2e6f726465722d706174680a1c\
    0a13736572766963652e696e7374616e63652e696412050a03692d310a1a0a0f736572766963652e76657273696f6e12\
    070a05302e312e3012ec030a130a0a66696c6c73747265616d1205302e312e3012d4030a104bf92f3577b34da6a3ce92\
    9d0e0e4736120801020304050607081a06726f6a6f3d31220800f067aa0ba902b72a0d6f6d73206f72646572732e7631\
    30053900604fd7400e991841a8be0bd8400e99184a190a1066696c6c73747265616d2e737461676512050a036f6d734a\
    1b0a106d6573736167696e672e73797374656d12070a056b61666b614a250a186d6573736167696e672e6f7065726174\
    696f6e2e7479706512090a0770726f636573734a290a1a6d6573736167696e672e64657374696e6174696f6e2e6e616d\
    65120b0a096f72646572732e76314a380a1d6d6573736167696e672e636f6e73756d65722e67726f75702e6e616d6512\
    170a1566696c6c73747265616d2e6f726465722d706174684a290a226d6573736167696e672e64657374696e6174696f\
    6e2e706172746974696f6e2e696412030a01334a1d0a166d6573736167696e672e6b61666b612e6f6666736574120318\
    ac024a240a1b6d6573736167696e672e6b61666b612e6d6573736167652e6b657912050a035030314a180a1266696c6c\
    73747265616d2e6f757470757473120218026a210a101111111111111111111111111111111112082222222222222222\
    35010000007a0a12064445434f444518028501010000000add020a670a2b0a0c736572766963652e6e616d65121b0a19\
    66696c6c73747265616d2e62726f6b65722d676174657761790a1c0a13736572766963652e696e7374616e63652e6964\
    12050a03692d310a1a0a0f736572766963652e76657273696f6e12070a05302e312e3012f1010a130a0a66696c6c7374\
    7265616d1205302e312e3012d9010a104bf92f3577b34da6a3ce929d0e0e4736120801020304050607081a06726f6a6f\
    3d312a1362726f6b65722d676174657761792073656e6430033900604fd7400e991841a8be0bd8400e99184a240a1066\
    696c6c73747265616d2e737461676512100a0e62726f6b65722d676174657761794a250a1766696c6c73747265616d2e\
    73656e642e6f7574636f6d65120a0a0872656365697665644a1d0a1466696c6c73747265616d2e636c5f6f72645f6964\
    12050a03432d314a180a1266696c6c73747265616d2e6f75747075747312021800850101000000";

fn context(parent: &str, state: Option<&[u8]>) -> TraceContext {
    TraceContext::from_headers(Some(parent.as_bytes()), state).unwrap()
}

fn span() -> Span {
    Span {
        context: context("00-4bf92f3577b34da6a3ce929d0e0e4736-0102030405060708-01", Some(b"rojo=1")),
        parent: Some([0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]),
        link: Some(context("00-11111111111111111111111111111111-2222222222222222-01", None)),
        stage: "oms",
        key: "P01".into(),
        work: SpanWork::Record { topic: "orders.v1".into(), partition: 3, offset: Some(300) },
        outputs: 2,
        poison: Some("DECODE".into()),
    }
}

fn told(service: &str, key_is: &'static str, spans: Vec<Span>) -> Told {
    let (start_us, end_us) = (1_772_463_600_000_000, 1_772_463_600_012_345);
    Told { service: service.into(), start_us, end_us, key_is, spans }
}

#[test]
fn the_bytes_are_those_of_the_published_messages() {
    let send = Span {
        parent: None,
        link: None,
        stage: "broker-gateway",
        key: "C-1".into(),
        work: SpanWork::Send { outcome: "received" },
        outputs: 0,
        poison: None,
        ..span()
    };
    let told = [
        told("fillstream.order-path", "messaging.kafka.message.key", vec![span()]),
        told("fillstream.broker-gateway", "fillstream.cl_ord_id", vec![send]),
    ];
    let hex: String = request(&told, "i-1", "0.1.0").iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, GOLDEN);
}

#[test]
fn a_partial_success_is_read() {
    // ExportTraceServiceResponse { partial_success: { rejected_spans: 300, error_message: "too many" } }
    assert_eq!(
        rejected(&[0x0a, 0x0d, 0x08, 0xac, 0x02, 0x12, 0x08, b't', b'o', b'o', b' ', b'm', b'a', b'n', b'y']),
        300
    );
    for other in [&[][..], &[0x0a], &[0x0a, 0xff], &[0x0d, 1, 2, 3, 4], &[0x80; 12], b"no protobuf"] {
        assert_eq!(rejected(other), 0, "{other:?}");
    }
}
