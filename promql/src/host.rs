//! Functions that the host program adds to the language.

use std::fmt;
use std::sync::Arc;

use crate::functions::signatures::{self, Signature, ValueType, Variadic};
use crate::lexer::{Lexer, TokenKind};

/// Most scalars that a function of the host program takes.
pub const MAX_HOST_SCALARS: usize = 8;

const SAMPLES: [ValueType; MAX_HOST_SCALARS + 1] = arguments(ValueType::Vector);
const WINDOWS: [ValueType; MAX_HOST_SCALARS + 1] = arguments(ValueType::Matrix);

const fn arguments(first: ValueType) -> [ValueType; MAX_HOST_SCALARS + 1] {
    let mut types = [ValueType::Scalar; MAX_HOST_SCALARS + 1];
    types[0] = first;
    types
}

/// The float samples in the window of a series that ends at a step.
#[derive(Clone, Copy, Debug)]
pub struct FloatWindow<'a> {
    /// Where it begins, exclusive, in milliseconds since the Unix epoch.
    pub start_ms: i64,
    /// Where it ends, inclusive, in milliseconds since the Unix epoch.
    pub end_ms: i64,
    /// Times of its samples, ascending, in milliseconds since the Unix epoch. There is at least one.
    pub timestamps: &'a [i64],
    /// Their values, without staleness markers.
    pub values: &'a [f64],
}

type OfSamples = dyn Fn(f64, &[f64]) -> Option<f64> + Send + Sync;
type OfWindows = dyn Fn(FloatWindow<'_>, &[f64]) -> Option<f64> + Send + Sync;

#[derive(Clone)]
pub(crate) enum Computes {
    Samples(Arc<OfSamples>),
    Windows(Arc<OfWindows>),
}

/// A function that the host program adds to the language with
/// [`EngineOptions::host_function`](crate::EngineOptions::host_function).
///
/// Like functions of the language it gives an instant vector whose series have lost their metric
/// names, and a series that has no value at a step has none in the result. It is asked for floats only:
/// native histograms are passed over. It may be called by several threads, must answer the same to the
/// same arguments, and should be quick: a query cannot be stopped within it.
///
/// ```
/// # use std::sync::Arc;
/// use ferula_promql::{Engine, EngineOptions, HostFunction, Value};
/// # use ferula_promql::testlang::{MemoryStorage, TestStorage};
/// # let storage = MemoryStorage::new().queryable().map_err(|e| e.to_string())?;
///
/// // How far a value lies outside of a range.
/// let excess = HostFunction::of_samples("excess", 2, |value, range| {
///     Some((value - range[1]).max(range[0] - value).max(0.0))
/// });
/// let engine = Engine::new(EngineOptions::default().host_function(excess)?);
/// let result = engine.instant(storage, "excess(vector(12), 0, 10)", 0)?.run()?;
/// assert!(matches!(result.value, Value::Vector(series) if series[0].value == 2.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct HostFunction {
    signature: Signature,
    computes: Computes,
}

impl HostFunction {
    /// A function of the samples of an instant vector, one at a time, and of `n_scalars` scalars:
    /// `name(v, s, …)`. Where it gives `None` there is no sample.
    ///
    /// # Panics
    /// If there are more than [`MAX_HOST_SCALARS`] scalars.
    pub fn of_samples(
        name: &'static str,
        n_scalars: usize,
        apply: impl Fn(f64, &[f64]) -> Option<f64> + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, &SAMPLES[..=n_scalars], Computes::Samples(Arc::new(apply)))
    }

    /// A function of the windows of a range vector and of `n_scalars` scalars: `name(m, s, …)`. It is
    /// asked for every series and step with samples in the window. Where it gives `None` there is no
    /// sample.
    ///
    /// # Panics
    /// If there are more than [`MAX_HOST_SCALARS`] scalars.
    pub fn of_windows(
        name: &'static str,
        n_scalars: usize,
        apply: impl Fn(FloatWindow<'_>, &[f64]) -> Option<f64> + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, &WINDOWS[..=n_scalars], Computes::Windows(Arc::new(apply)))
    }

    fn new(name: &'static str, args: &'static [ValueType], computes: Computes) -> Self {
        let (variadic, returns) = (Variadic::No, ValueType::Vector);
        Self {
            signature: Signature { name, args, variadic, returns, experimental: false },
            computes,
        }
    }

    /// Its name, argument and result types.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    pub(crate) fn computes(&self) -> &Computes {
        &self.computes
    }
}

impl fmt::Debug for HostFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HostFunction").field(&self.signature).finish()
    }
}

/// Why a function cannot be added to the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostFunctionError {
    /// The name is that of a function, or of one that was added before.
    #[error("there is a function {name} already")]
    Taken {
        /// The name.
        name: &'static str,
    },
    /// Queries do not take the name for one of a function: it is no word of letters, digits and `_`, or
    /// one with a meaning.
    #[error("{name:?} cannot be the name of a function")]
    Name {
        /// The name.
        name: &'static str,
    },
}

/// The functions that were added. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostFunctions(Arc<[HostFunction]>);

impl HostFunctions {
    /// These and one more.
    pub(crate) fn with(&self, function: HostFunction) -> Result<Self, HostFunctionError> {
        let name = function.signature.name;
        if self.signature(name).is_some() {
            return Err(HostFunctionError::Taken { name });
        }
        let mut lexer = Lexer::new(name);
        let is_word = lexer.next_token().kind == TokenKind::Identifier;
        if !is_word || lexer.next_token().kind != TokenKind::End {
            return Err(HostFunctionError::Name { name });
        }
        Ok(Self(self.0.iter().cloned().chain([function]).collect()))
    }

    /// The place of a function.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|function| function.signature.name == name)
    }

    pub(crate) fn get(&self, place: usize) -> Option<&HostFunction> {
        self.0.get(place)
    }

    /// What the checker knows of a function, of the language or one that was added.
    pub(crate) fn signature(&self, name: &str) -> Option<&Signature> {
        let added = || self.0.iter().map(|function| &function.signature).find(|f| f.name == name);
        signatures::find(name).or_else(added)
    }
}
