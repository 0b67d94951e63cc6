//! What a request asks for.

use ferula_index::{MatchOp, Matcher};
use ferula_promql::storage::TimeRange;

use super::{MAX_MATCHER_BYTES, MAX_MATCHERS, MAX_QUERIES};
use crate::protobuf::{DecodeError, DecodeProblem, Field, Fields, Value};

/// How an answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResponseType {
    /// As one `ReadResponse`.
    Samples,
    /// As frames of `ChunkedReadResponse`.
    StreamedChunks,
}

/// A `ReadRequest`.
#[derive(Debug)]
pub(crate) struct ReadRequest {
    pub(crate) queries: Vec<ReadQuery>,
    /// `None` if none of those that the client takes is known.
    pub(crate) response_type: Option<ResponseType>,
}

/// Which samples are asked for.
#[derive(Debug)]
pub(crate) struct ReadQuery {
    /// `None` if the end lies before the start, where nothing is.
    pub(crate) range: Option<TimeRange>,
    /// Or why one of them is none.
    pub(crate) matchers: Result<Vec<Matcher>, String>,
}

impl ReadRequest {
    /// Decodes a `ReadRequest`: 1 queries, 2 response types that are taken, the preferred one first.
    pub(crate) fn read(message: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new("ReadRequest", message);
        let (mut queries, mut response_type, mut n_types) = (Vec::new(), None, 0_u64);
        let mut room = MAX_MATCHER_BYTES;
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => {
                    check_count(&fields, &field, queries.len(), MAX_QUERIES)?;
                    queries.push(query(fields.bytes(&field)?, &mut room)?);
                }
                2 => fields.each_varint(&field, |number| {
                    n_types += 1;
                    response_type = response_type.or(match number {
                        0 => Some(ResponseType::Samples),
                        1 => Some(ResponseType::StreamedChunks),
                        _ => None,
                    });
                    Ok(())
                })?,
                _ => {}
            }
        }
        if n_types == 0 {
            response_type = Some(ResponseType::Samples);
        }
        Ok(Self { queries, response_type })
    }
}

/// Decodes a `Query`: 1 start and 2 end, both inclusive, 3 matchers. Hints, which are 4, only say which
/// samples will be looked at. The memory of matchers is taken from `room`.
fn query(message: &[u8], room: &mut usize) -> Result<ReadQuery, DecodeError> {
    let mut fields = Fields::new("Query", message);
    let (mut start, mut end, mut matchers) = (0, 0, Ok(Vec::new()));
    while let Some(field) = fields.next_field()? {
        match field {
            Field { number: 1, value: Value::Varint(bits), .. } => start = bits.cast_signed(),
            Field { number: 2, value: Value::Varint(bits), .. } => end = bits.cast_signed(),
            Field { number: 3, .. } => {
                let message = fields.bytes(&field)?;
                // Nothing is made of what comes after one that is none.
                if let Ok(list) = &mut matchers {
                    check_count(&fields, &field, list.len(), MAX_MATCHERS)?;
                    match matcher(message, room)? {
                        Ok(matcher) => list.push(matcher),
                        Err(reason) => matchers = Err(reason),
                    }
                }
            }
            Field { number: 1 | 2, .. } => return Err(fields.wrong_type(&field)),
            _ => {}
        }
    }
    Ok(ReadQuery { range: TimeRange::new(start, end), matchers })
}

/// Decodes a `LabelMatcher`: 1 operator, 2 name, 3 value.
fn matcher(message: &[u8], room: &mut usize) -> Result<Result<Matcher, String>, DecodeError> {
    let mut fields = Fields::new("LabelMatcher", message);
    let (mut operator, mut name, mut value) = (0, "", "");
    while let Some(field) = fields.next_field()? {
        match field {
            Field { number: 1, value: Value::Varint(bits), .. } => operator = bits,
            Field { number: 1, .. } => return Err(fields.wrong_type(&field)),
            Field { number: 2, .. } => name = fields.text(&field)?,
            Field { number: 3, .. } => value = fields.text(&field)?,
            _ => {}
        }
    }
    if *room == 0 {
        return Ok(Err("matchers of another query are invalid".to_owned()));
    }
    let operator = match operator {
        0 => MatchOp::Equal,
        1 => MatchOp::NotEqual,
        2 => MatchOp::Regex,
        3 => MatchOp::NotRegex,
        _ => return Ok(Err("invalid matcher type".to_owned())),
    };
    let too_large = || format!("matchers take more than {MAX_MATCHER_BYTES} bytes of memory");
    Ok(match Matcher::new(operator, name, value) {
        Ok(matcher) => match room.checked_sub(matcher.memory_bytes()) {
            Some(left) => {
                *room = left;
                Ok(matcher)
            }
            None => {
                *room = 0;
                Err(too_large())
            }
        },
        Err(error) => {
            // It cannot be answered: nothing is made of those of other queries.
            *room = 0;
            Err(error.to_string())
        }
    })
}

fn check_count(
    fields: &Fields<'_>,
    field: &Field<'_>,
    count: usize,
    limit: usize,
) -> Result<(), DecodeError> {
    if count == limit {
        let problem = DecodeProblem::TooMany { field: field.number, limit };
        return Err(fields.error(field.offset, problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_type_that_is_known_is_taken() {
        let samples = Some(ResponseType::Samples);
        let streamed = Some(ResponseType::StreamedChunks);
        for (message, expected) in [
            (&[][..], samples),
            (&[16, 1], streamed),
            (&[16, 0, 16, 1], samples),
            (&[18, 3, 9, 1, 0], streamed),
            (&[16, 9], None),
        ] {
            let request = ReadRequest::read(message).unwrap();
            assert_eq!(request.response_type, expected, "{message:?}");
        }
    }

    #[test]
    fn matchers_take_no_more_memory_than_they_may() {
        let pattern = br"\pL{100}x+";
        let len = u8::try_from(pattern.len()).unwrap();
        let matcher = [&[8, 2, 18, 1, b'a', 26, len][..], pattern].concat();
        let matcher = [&[26, len + 7][..], &matcher].concat();
        let query = matcher.repeat(6);
        let query = [&[10, u8::try_from(query.len()).unwrap()][..], &query].concat();
        let room = |queries: usize| {
            let request = ReadRequest::read(&query.repeat(queries)).unwrap();
            let good = request.queries.iter().filter(|query| query.matchers.is_ok());
            (request.queries.len(), good.count())
        };
        assert_eq!(room(1), (1, 1));
        let (all, good) = room(90);
        assert!(all == 90 && good < 20, "{good}");
    }

    #[test]
    fn bad_requests_are_refused() {
        let problem = |message: &[u8]| ReadRequest::read(message).unwrap_err().problem;
        let many = [10_u8, 0].repeat(MAX_QUERIES + 1);
        let too_many = DecodeProblem::TooMany { field: 1, limit: MAX_QUERIES };
        assert_eq!(problem(&many), too_many);
        assert_eq!(problem(&[10, 2, 26]), DecodeProblem::End);
        assert_eq!(problem(&[10, 5, 26, 3, 18, 1, 0xff]), DecodeProblem::Utf8);
        // An operator that is not there, and an end before its start.
        let request = ReadRequest::read(&[10, 6, 8, 1, 26, 2, 8, 7]).unwrap();
        assert_eq!(request.queries[0].range, None);
        assert!(request.queries[0].matchers.is_err());
    }
}
