package manifest

import "github.com/vestibule-id/vestibule/broker/upstream"

// ReadVisited is Read, and tells of every map with the keys that it may have.
func ReadVisited(files []File, protocols upstream.Protocols, from Sources, visit func(path string, known []string)) (*Manifest, error) {
	return read(files, protocols, &reader{from: from, visit: visit})
}
