package audit

// Action names what was done, dotted, in the past tense of its sentence. Stored, never renamed.
type Action string
