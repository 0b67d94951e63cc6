//! Answers as OTLP has them: `ExportMetricsServiceResponse`, and `google.rpc.Status` for failures.

use serde_json::json;

use super::receipt::OtlpReceipt;
use super::receiver::OtlpFormat;
use crate::protobuf::write::{push_bytes, push_varint};

/// The answer to a request that was taken: empty, or with field 1, the partial success: 1 how many
/// points were refused, 2 why.
pub fn success_answer(format: OtlpFormat, receipt: &OtlpReceipt) -> Vec<u8> {
    if format == OtlpFormat::Json {
        let answer = match receipt.refused_points {
            0 => json!({}),
            // Numbers of 64 bits are texts in the JSON of protobuf.
            refused => json!({"partialSuccess": {
                "rejectedDataPoints": refused.to_string(),
                "errorMessage": receipt.to_string(),
            }}),
        };
        return answer.to_string().into_bytes();
    }
    let mut answer = Vec::new();
    if receipt.refused_points > 0 {
        let mut partial = Vec::new();
        push_varint(&mut partial, 1 << 3);
        push_varint(&mut partial, receipt.refused_points);
        push_bytes(&mut partial, 2, receipt.to_string().as_bytes());
        push_bytes(&mut answer, 1, &partial);
    }
    answer
}

/// The answer to a request that was not taken: 1 the code of gRPC, 2 why.
pub fn error_answer(format: OtlpFormat, code: u8, text: &str) -> Vec<u8> {
    if format == OtlpFormat::Json {
        return json!({"code": code, "message": text}).to_string().into_bytes();
    }
    let mut answer = Vec::new();
    push_varint(&mut answer, 1 << 3);
    push_varint(&mut answer, code.into());
    push_bytes(&mut answer, 2, text.as_bytes());
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_have_their_fields() {
        let mut receipt = OtlpReceipt { points: 300, ..OtlpReceipt::default() };
        assert_eq!(success_answer(OtlpFormat::Protobuf, &receipt), b"");
        assert_eq!(success_answer(OtlpFormat::Json, &receipt), b"{}");
        receipt.refused_points = 300;
        let text = b"300 of 300 data points refused";
        assert_eq!(
            success_answer(OtlpFormat::Protobuf, &receipt),
            [b"\x0a\x23\x08\xac\x02\x12\x1e", &text[..]].concat()
        );
        assert_eq!(error_answer(OtlpFormat::Protobuf, 3, "no"), b"\x08\x03\x12\x02no");
        let json = error_answer(OtlpFormat::Json, 3, "no");
        assert_eq!(json, br#"{"code":3,"message":"no"}"#);
        let json = String::from_utf8(success_answer(OtlpFormat::Json, &receipt)).unwrap();
        assert!(json.contains(r#""rejectedDataPoints":"300""#), "{json}");
    }
}
