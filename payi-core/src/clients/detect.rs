//! Tells from an address whose endpoint is being called: by its host, else by its path.
//!
//! Most hosts speak OpenAI's dialect under their own name, and gateways and test servers speak
//! everybody's under none; so the path says what is asked, and the host, where it is known, of whom.

use std::{borrow::Cow, cell::RefCell, sync::Arc};

use crate::{context::Text, usage::Api};

/// Pay-i's categories.
mod category {
    pub(super) const OPENAI: &str = "system.openai";
    pub(super) const AZURE_OPENAI: &str = "system.azureopenai";
    pub(super) const AZURE: &str = "system.azure";
    pub(super) const ANTHROPIC: &str = "system.anthropic";
    pub(super) const GOOGLE: &str = "system.google.vertex";
    pub(super) const BEDROCK: &str = "system.aws.bedrock";
}

/// What is being called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// The provider's id in the price book, or the host.
    pub(crate) provider: Cow<'static, str>,
    pub(crate) operation: Cow<'static, str>,
    pub(crate) category: Cow<'static, str>,
    pub(crate) api: Api,
    /// The model, where the path names it.
    pub(crate) model: Option<Text>,
    /// Nothing is billed: lists, counts, what was paid for before.
    pub(crate) free: bool,
    /// `stream_options.include_usage` is known to be accepted.
    pub(crate) accepts_stream_usage: bool,
    /// How much of the path belongs to the host's base address.
    pub(crate) base: usize,
    /// Clients are given the host's address alone, without a version.
    pub(crate) host_alone: bool,
}

impl Endpoint {
    /// Whether text is asked for, or answered: of pictures and sound the text says little about the bill.
    pub(crate) fn is_text(&self) -> bool {
        let known = self.api != Api::Unknown || !self.operation.starts_with('/');
        known && !self.free && !matches!(self.api, Api::Images | Api::Audio)
    }

    /// Whether `model` goes by this name here: Pay-i knows Anthropic's models at Google by a longer one.
    pub(crate) fn is_called(&self, model: &str, name: &str) -> bool {
        let vertex = self.category == category::GOOGLE && self.api == Api::Messages;
        name == model || (vertex && name.strip_prefix("anthropic.") == Some(model))
    }
}

/// A known host: an ending of its name, the provider's id in the price book, its category.
const HOSTS: &[(&str, &str, &str)] = &[
    ("api.openai.com", "openai", category::OPENAI),
    ("openai.azure.com", "azure", category::AZURE_OPENAI),
    ("cognitiveservices.azure.com", "azure", category::AZURE_OPENAI),
    ("services.ai.azure.com", "azure", category::AZURE_OPENAI),
    ("api.anthropic.com", "anthropic", category::ANTHROPIC),
    ("generativelanguage.googleapis.com", "google", category::GOOGLE),
    ("aiplatform.googleapis.com", "google", category::GOOGLE),
    ("api.arcee.ai", "arcee", category::OPENAI),
    ("api.avian.io", "avian", category::OPENAI),
    ("inference.baseten.co", "baseten", category::OPENAI),
    ("api.cerebras.ai", "cerebras", category::OPENAI),
    ("api.cloudflare.com", "cloudflare", category::OPENAI),
    ("api.cohere.ai", "cohere", category::OPENAI),
    ("api.cohere.com", "cohere", category::OPENAI),
    ("cloud.databricks.com", "databricks", category::OPENAI),
    ("azuredatabricks.net", "databricks", category::OPENAI),
    ("api.deepseek.com", "deepseek", category::OPENAI),
    ("api.doubleword.ai", "doubleword", category::OPENAI),
    ("api.fireworks.ai", "fireworks", category::OPENAI),
    ("api.githubcopilot.com", "github-copilot", category::OPENAI),
    ("api.groq.com", "groq", category::OPENAI),
    ("api.llama.com", "meta", category::OPENAI),
    ("api.minimax.io", "minimax", category::OPENAI),
    ("api.mistral.ai", "mistral", category::OPENAI),
    ("api.moonshot.ai", "moonshotai", category::OPENAI),
    ("api.novita.ai", "novita", category::OPENAI),
    ("openrouter.ai", "openrouter", category::OPENAI),
    ("ai.cloud.ovh.net", "ovhcloud", category::OPENAI),
    ("api.perplexity.ai", "perplexity", category::OPENAI),
    ("api.together.ai", "together", category::OPENAI),
    ("api.together.xyz", "together", category::OPENAI),
    ("api.voyageai.com", "voyageai", category::OPENAI),
    ("api.x.ai", "x-ai", category::OPENAI),
    ("api.z.ai", "zai", category::OPENAI),
    ("open.bigmodel.cn", "zhipuai", category::OPENAI),
];

/// Ollama's own endpoints, beside which it speaks OpenAI's dialect.
const OLLAMA: &[&str] =
    &["/api/chat", "/api/generate", "/api/embed", "/api/embeddings", "/api/tags", "/api/show"];

/// Hugging Face's router, which names whom it routes to in the path.
const ROUTER: &str = "router.huggingface.co";

/// What a path asks for: how it ends, and how its answer is read.
const PATHS: &[(&str, &str, Api)] = &[
    ("/chat/completions", "chat.completions", Api::Chat),
    ("/completions", "completions", Api::Completions),
    ("/responses", "responses", Api::Responses),
    ("/responses/compact", "responses.compact", Api::Responses),
    ("/messages", "messages", Api::Messages),
    ("/embeddings", "embeddings", Api::Embeddings),
    ("/images/generations", "images.generations", Api::Images),
    ("/images/edits", "images.edits", Api::Images),
    ("/images/variations", "images.variations", Api::Images),
    ("/audio/transcriptions", "audio.transcriptions", Api::Audio),
    ("/audio/translations", "audio.translations", Api::Audio),
    ("/audio/speech", "audio.speech", Api::Audio),
    ("/rerank", "rerank", Api::Unknown),
    ("/embed", "embeddings", Api::Embeddings),
    ("/interactions", "interactions", Api::Gemini),
    ("/api/generate", "generate", Api::Unknown),
    ("/v1/generate", "generate", Api::Unknown),
    ("/chat", "chat", Api::Unknown),
    // Sockets: OpenAI's and its kin's; Gemini's and Vertex's.
    ("/realtime", "realtime", Api::Responses),
    ("BidiGenerateContent", "live", Api::Gemini),
];

/// What is asked for without a bill.
const FREE: &[(&str, &str)] = &[
    ("/responses/input_tokens", "responses.input_tokens"),
    ("/messages/count_tokens", "messages.count_tokens"),
    ("/moderations", "moderations"),
    ("/models", "models"),
    ("/api/tags", "models"),
    (":countTokens", "count_tokens"),
    ("/count-tokens", "count_tokens"),
    ("/files", "files"),
    ("/uploads", "uploads"),
    ("/conversations", "conversations"),
];

/// Beginnings of what is asked of an upload that was begun.
const UPLOADS: &str = "/uploads/";

/// What Gemini's and Vertex's methods are called, after the colon.
const METHODS: &[(&str, &str, Api)] = &[
    ("generateContent", "generate_content", Api::Gemini),
    ("streamGenerateContent", "generate_content", Api::Gemini),
    ("predict", "predict", Api::Unknown),
    ("embedContent", "embed_content", Api::Embeddings),
    ("batchEmbedContents", "embed_content", Api::Embeddings),
    ("rawPredict", "messages", Api::Messages),
    ("streamRawPredict", "messages", Api::Messages),
];

/// Where Pay-i's proxy passes a call on, by the part of its path that says so, and a host of that provider.
const PROXIED: &[(&str, &str)] = &[
    ("openai", "api.openai.com"),
    ("azure.openai", "openai.azure.com"),
    ("anthropic", "api.anthropic.com"),
    ("azure.anthropic", "services.ai.azure.com"),
    ("aws.bedrock", "bedrock-runtime.amazonaws.com"),
];

/// A call to Pay-i's proxy: the host that it stands for, and where its path begins to be the provider's.
fn proxied(path: &str) -> Option<(&'static str, usize)> {
    const PROXY: &str = "/api/v1/proxy/";
    let begin = find(path, PROXY)? + PROXY.len();
    let name = path[begin..].split('/').next()?;
    let (_, host) = PROXIED.iter().find(|(known, _)| *known == name)?;
    Some((host, begin + name.len()))
}

/// A request, and what it is for.
struct Last {
    method: String,
    host: String,
    path: String,
    endpoint: Arc<Endpoint>,
}

thread_local! {
    /// The last one: most programs ask one endpoint, and to compare is less than to tell.
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
}

/// Tells what a request for `path` at `host` is for.
pub(crate) fn detect(method: &str, host: &str, path: &str) -> Arc<Endpoint> {
    let found = LAST.try_with(|last| match &mut *last.borrow_mut() {
        Some(told) if told.path == path && told.host == host && told.method == method => {
            Arc::clone(&told.endpoint)
        }
        last => {
            let endpoint = Arc::new(tell(method, host, path));
            *last = Some(Last {
                method: method.into(),
                host: host.into(),
                path: path.into(),
                endpoint: Arc::clone(&endpoint),
            });
            endpoint
        }
    });
    // A thread at its end has no last request.
    found.unwrap_or_else(|_| tell(method, host, path).into())
}

fn tell(method: &str, host: &str, path: &str) -> Endpoint {
    let Some((host, begin)) = proxied(path) else { return at_provider(method, host, path) };
    let endpoint = at_provider(method, host, &path[begin..]);
    // Pay-i adds its own word to the last chunk of a stream: that one is not to be hidden.
    Endpoint { accepts_stream_usage: false, base: endpoint.base + begin, ..endpoint }
}

/// Whether nothing is made by requests of that method: they list, show again what was paid for, or delete it.
pub(crate) fn makes_nothing(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "DELETE")
}

fn at_provider(method: &str, host: &str, path: &str) -> Endpoint {
    let path = path.strip_suffix('/').unwrap_or(path);
    let known = HOSTS.iter().find(|(name, ..)| is_or_under(host, name));
    let aws = host.ends_with(".amazonaws.com") || host.ends_with(".api.aws");
    let bedrock = (aws && host.starts_with("bedrock")) || bedrock_model(path).is_some();
    let asked = ask(method, path);
    let anthropic = asked.api == Api::Messages;
    let (provider, category): (Cow<'static, str>, _) = match known {
        None if host == ROUTER => (routed(path).into(), category::OPENAI),
        Some((_, "azure", _)) if anthropic => ("anthropic".into(), category::AZURE),
        Some(&(_, provider, category)) => (provider.into(), category),
        None if bedrock => ("aws".into(), category::BEDROCK),
        None if has(path, "/openai/deployments/") => ("azure".into(), category::AZURE_OPENAI),
        None if OLLAMA.contains(&path) => ("ollama".into(), category::OPENAI),
        None => match asked.api {
            Api::Messages => ("anthropic".into(), category::ANTHROPIC),
            Api::Gemini => ("google".into(), category::GOOGLE),
            Api::Unknown => (host.to_owned().into(), category::OPENAI),
            _ => ("openai".into(), category::OPENAI),
        },
    };
    Endpoint {
        accepts_stream_usage: asked.api == Api::Chat && provider == "openai" && known.is_some(),
        host_alone: matches!(asked.api, Api::Messages | Api::Gemini) || bedrock,
        provider,
        operation: asked.operation,
        category: category.into(),
        api: asked.api,
        model: asked.model,
        free: asked.free,
        base: asked.base,
    }
}

/// Providers by the names that spans give them.
#[cfg(feature = "tracing")]
const SPAN_NAMES: &[(&str, &str, &str)] = &[
    ("azure.ai.openai", "azure", category::AZURE_OPENAI),
    ("az.ai.openai", "azure", category::AZURE_OPENAI),
    ("anthropic", "anthropic", category::ANTHROPIC),
    ("gcp.gemini", "google", category::GOOGLE),
    ("gcp.vertex_ai", "google", category::GOOGLE),
    ("gcp.gen_ai", "google", category::GOOGLE),
    ("gemini", "google", category::GOOGLE),
    ("vertex_ai", "google", category::GOOGLE),
    ("google", "google", category::GOOGLE),
    ("aws.bedrock", "aws", category::BEDROCK),
    ("bedrock", "aws", category::BEDROCK),
    ("mistral_ai", "mistral", category::OPENAI),
    ("x_ai", "x-ai", category::OPENAI),
    ("xai", "x-ai", category::OPENAI),
    ("moonshot", "moonshotai", category::OPENAI),
    ("voyage", "voyageai", category::OPENAI),
];

/// The endpoint that a span describes.
#[cfg(feature = "tracing")]
pub(crate) fn of_span(provider: Option<&str>, operation: Option<&str>) -> Endpoint {
    let name = provider.unwrap_or("unknown").to_ascii_lowercase();
    let known = SPAN_NAMES.iter().find(|(said, ..)| *said == name);
    let (provider, category) =
        known.map_or((name.clone().into(), category::OPENAI), |&(_, id, category)| (id.into(), category));
    Endpoint {
        provider,
        operation: operation.unwrap_or("chat").to_owned().into(),
        category: category.into(),
        api: Api::Unknown,
        model: None,
        free: false,
        accepts_stream_usage: false,
        base: 0,
        host_alone: true,
    }
}

struct Asked {
    operation: Cow<'static, str>,
    api: Api,
    model: Option<Text>,
    free: bool,
    base: usize,
}

fn ask(method: &str, path: &str) -> Asked {
    let asked = |operation: &'static str, api, base| Asked {
        operation: operation.into(),
        api,
        model: deployment(path),
        free: makes_nothing(method),
        base,
    };
    if let Some((end, operation)) = FREE.iter().find(|(end, _)| path.ends_with(end)) {
        return Asked { free: true, ..asked(operation, Api::Unknown, path.len() - end.len()) };
    }
    if let Some((_, operation, api)) =
        METHODS.iter().find(|(method, ..)| path.strip_suffix(method).is_some_and(|rest| rest.ends_with(':')))
    {
        let base = find(path, "/models/").unwrap_or(0);
        let model = path.rsplit('/').next().and_then(|last| last.split(':').next());
        return Asked { model: model.map(Into::into), ..asked(operation, *api, base) };
    }
    if let Some((name, operation)) = bedrock_model(path) {
        let model = unescaped(name);
        let anthropic = model.contains("anthropic") && operation.starts_with("invoke");
        let api = if anthropic { Api::Messages } else { Api::Unknown };
        return Asked { model: Some(model), ..asked(operation, api, 0) };
    }
    let threads = has(path, "/threads/");
    if let Some((end, operation, api)) = PATHS.iter().find(|(end, ..)| path.ends_with(end) && !threads) {
        // Azure's clients are given what comes before the deployment.
        let base = find(path, DEPLOYMENTS).unwrap_or(path.len() - end.len());
        return asked(operation, *api, base);
    }
    if let Some((base, id)) = path.rsplit_once("/responses/") {
        let (id, cancel) = id.strip_suffix("/cancel").map_or((id, false), |id| (id, true));
        if !id.contains('/') {
            let operation = match method {
                _ if cancel => "responses.cancel",
                "DELETE" => "responses.delete",
                _ => "responses.retrieve",
            };
            let asked = asked(operation, Api::Responses, base.len());
            return Asked { free: asked.free || cancel, ..asked };
        }
    }
    if path.contains(UPLOADS) {
        return Asked { free: true, ..asked("uploads", Api::Unknown, 0) };
    }
    if path.ends_with("/cancel") || path.ends_with(":cancel") {
        return Asked { free: true, ..asked("cancel", Api::Unknown, 0) };
    }
    Asked { operation: path.to_owned().into(), ..asked("", Api::Unknown, 0) }
}

/// Bedrock's runtime: the model's name, as it is written in the path, and what is asked of it.
fn bedrock_model(path: &str) -> Option<(&str, &'static str)> {
    let (name, asked) = path.strip_prefix("/model/")?.split_once('/')?;
    let operation = match asked {
        "converse" | "converse-stream" => "converse",
        "invoke" | "invoke-with-response-stream" => "invoke",
        _ => return None,
    };
    Some((name, operation))
}

fn unescaped(name: &str) -> Text {
    name.replace("%3A", ":").replace("%3a", ":").replace("%2F", "/").replace("%2f", "/").into()
}

/// Whom Hugging Face routes to: the first part of the path.
fn routed(path: &str) -> String {
    format!("huggingface_{}", path.split('/').nth(1).unwrap_or_default())
}

/// Where `word` begins in a path: paths are too short to be worth the preparations of a search by vectors.
fn find(path: &str, word: &str) -> Option<usize> {
    let word = word.as_bytes();
    path.as_bytes().windows(word.len()).position(|part| part == word)
}

/// Whether `word` is in a path.
pub(crate) fn has(path: &str, word: &str) -> bool {
    find(path, word).is_some()
}

/// What stands before the name of a deployment.
const DEPLOYMENTS: &str = "/deployments/";

/// Azure's deployment stands for the model.
fn deployment(path: &str) -> Option<Text> {
    let begin = find(path, DEPLOYMENTS)? + DEPLOYMENTS.len();
    let name = path[begin..].split('/').next()?;
    (!name.is_empty()).then(|| name.into())
}

fn is_or_under(host: &str, name: &str) -> bool {
    host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with(['.', '-']))
}

#[cfg(test)]
#[path = "detect_tests.rs"]
mod tests;
