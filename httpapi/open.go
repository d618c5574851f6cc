package httpapi

// classNames are the classes whose requests are counted, as the metrics call them.
var classNames = map[class]string{
	classNormal: "normal", classKeepalive: "keepalive", classHeld: "held", classStream: "stream",
}

// Open returns how many requests of each class are being answered: each class has a bound
// of its own. Probes and scrapes are not counted.
func (s *Server) Open() map[string]int {
	open := make(map[string]int, len(classNames))
	for class, name := range classNames { //lint:ordered into a map
		open[name] = int(s.rooms[class].taken.Load())
	}
	return open
}
