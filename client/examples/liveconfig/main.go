// Command liveconfig serves HTTP requests by a configuration that changes while
// it runs.
//
//	PRYTANY_ADDR=http://n1:7480 go run ./client/examples/liveconfig &
//	curl localhost:8080                 # Hello, you!
//	curl -X PUT localhost:7480/v1/config/example/greeting -d '{"greeting":"Welcome","name":"Ada"}'
//	curl localhost:8080                 # Welcome, Ada!
//
// Reading the value is an atomic load, without I/O, so a handler may do it with
// each request. While no node can be reached the last value stays; a value that
// is no JSON is reported, and the last good one stays.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/prytany/prytany/client"
)

// Config is what the entry example/greeting holds, as JSON.
type Config struct {
	Greeting string `json:"greeting"`
	Name     string `json:"name"`
}

func main() {
	addr := flag.String("http", "127.0.0.1:8080", "`address` to listen at")
	flag.Parse()
	c, err := client.New(client.Config{})
	if err != nil {
		log.Fatal(err)
	}
	cfg, err := client.Value(context.Background(), c, "example/greeting", client.JSON[Config],
		client.ValueOptions[Config]{Default: Config{Greeting: "Hello", Name: "you"}})
	if err != nil {
		log.Fatal(err)
	}
	cfg.OnChange(func(now Config) { log.Printf("from now on: %+v", now) })
	srv := &http.Server{Addr: *addr, Handler: handler(cfg), ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(srv.ListenAndServe())
}

func handler(cfg *client.Var[Config]) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		now := cfg.Load()
		_, _ = fmt.Fprintf(w, "%s, %s!\n", now.Greeting, now.Name)
		if err := cfg.Err(); err != nil {
			log.Print(err)
		}
	})
}
