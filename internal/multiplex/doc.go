// Package multiplex carries many requests of the HTTP API over one connection, in
// both directions at once.
//
// HTTP/1.1 answers one request of a connection at a time: 64 requests under way are
// 64 connections, each with system calls of its own for every request and every
// answer. HTTP/2 shares a connection, but every request is a stream with flow control
// and windows of its own, which costs as much again. Requests of a coordination service
// are small, and they come and go in bunches, because one slot decides many of them.
// Here a bunch costs one write and one read.
//
// A client asks for it with an upgrade (RFC 9110, section 7.8):
//
//	GET /v1/connection HTTP/1.1
//	Connection: Upgrade
//	Upgrade: prytany-frames
//
// After the answer 101 both sides send frames. A frame is four numbers as unsigned
// varints (kind, id, bytes of the head, bytes of the body), the head and the body.
//
//	kind  sent by  id of             head                              body
//	1     client   a new request     method, target, header fields     of the request
//	2     client   one to break off  nothing                           nothing
//	3     server   one answered      status in decimal, header fields  of the answer
//	4     server   the last one      nothing                           nothing
//
// The head is a list of strings, each after its length as a varint; header fields are a
// name and a value each. Ids grow. What the server has for them is an ordinary
// [http.Handler]: a request here is one of HTTP in all but its form. An answer of status
// 0 says that the handler gave up, one of status 1 that it wrote more than may be sent
// here, and that plain HTTP is the way to hear it. Kind 4 says that the server ends: requests after the
// id were not looked at, those before are answered still.
//
// What streams, is large or must not wait behind what is large has to go over a
// connection of its own: one answer here is at most [MaxReply], and is sent whole.
package multiplex
