// Package cli is what the commands of prytany have in common: errors with exit
// codes and a line that says what to try, output as -o asks, a client for the
// cluster that the user means, signals, and reads that go on with --watch.
package cli
