//! What is said about a project on its way to Kubernetes.

/// Sentences, each once.
#[derive(Debug, Default)]
pub(super) struct Notes(Vec<String>);

impl Notes {
    /// Says something about a key, `services.web.ulimits`.
    pub(super) fn say(&mut self, key: &str, text: &str) {
        let sentence = format!("{key}: {text}");
        if !self.0.contains(&sentence) {
            self.0.push(sentence);
        }
    }

    /// The same about a key of a service.
    pub(super) fn service(&mut self, service: &str, key: &str, text: &str) {
        self.say(&format!("services.{service}.{key}"), text);
    }

    pub(super) fn into_sentences(self) -> Vec<String> {
        self.0
    }
}
