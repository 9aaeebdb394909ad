// Package policy says what holds when platform, realm, organizations and app each ask for something:
// an organization can tighten security, never loosen it.
package policy
