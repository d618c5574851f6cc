package leader

import "github.com/prytany/prytany/synod"

// Claims are several claims to one node: when a node is lost that has led many
// groups, others claim many at once. At most MaxReports; a receiver ignores those
// beyond.
type Claims struct{ All []Claim }

// Grants answer Claims, in as many messages.
type Grants struct{ All []Grant }

func (Claims) message() {}
func (Grants) message() {}

// A batch is a message that others of its kind are put into.
type batch struct {
	to    synod.NodeID
	grant bool
	at    int // in Output.Send
	size  int
}

// gather puts claims and grants to one node that were sent since there were so many
// messages into as few as possible.
func (o *Output) gather(from int) {
	if len(o.Send)-from < 2 {
		return
	}
	var open []batch
	kept := o.Send[:from]
	for _, e := range o.Send[from:] {
		_, claim := e.Msg.(Claim)
		_, grant := e.Msg.(Grant)
		if !claim && !grant {
			kept = append(kept, e)
			continue
		}
		i := 0
		for i < len(open) && (open[i].to != e.To || open[i].grant != grant || open[i].size == MaxReports) {
			i++
		}
		if i == len(open) {
			open = append(open, batch{e.To, grant, len(kept), 1})
			kept = append(kept, e)
			continue
		}
		open[i].size++
		kept[open[i].at].Msg = merged(kept[open[i].at].Msg, e.Msg)
	}
	clear(o.Send[len(kept):])
	o.Send = kept
}

// merged returns a message with all that a and b hold, both claims or both grants.
func merged(a, b Message) Message {
	switch a := a.(type) {
	case Claim:
		return Claims{[]Claim{a, b.(Claim)}}
	case Claims:
		return Claims{append(a.All, b.(Claim))}
	case Grant:
		return Grants{[]Grant{a, b.(Grant)}}
	case Grants:
		return Grants{append(a.All, b.(Grant))}
	}
	return a
}
