package report

import "html/template"

var tmpl = template.Must(template.New("report").Funcs(template.FuncMap{"clean": clean}).Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"/>
<title>{{.V.Outcome}}: {{clean .V.Run.Name}}</title>
<style>
body { font: 14px/1.45 system-ui, sans-serif; margin: 1.5em auto; max-width: 1440px; padding: 0 1em; color: #1b1f24; background: #fff; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; border-bottom: 1px solid #d0d7de; }
table { border-collapse: collapse; } td, th { text-align: left; vertical-align: top; padding: .25em .8em .25em 0; }
th { font-weight: 600; } .mono, .rows td { font: 12px/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
.outcome { font-weight: 700; padding: .05em .5em; border-radius: .3em; white-space: nowrap; }
.pass { background: #dafbe1; color: #116329; } .FAIL { background: #ffebe9; color: #a40e26; } .undecided { background: #fff8c5; color: #7d4e00; }
.rejected { background: #eee4ff; color: #5a32a3; } .nothing { background: #eaeef2; color: #57606a; }
.offender { margin: .3em 0 .3em 1em; } .offender li { font: 12px/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
tr.bad td { background: #ffebe9; } .rows tr:nth-child(even) { background: #f6f8fa; } .scroll { overflow-x: auto; }
svg { width: 100%; height: auto; min-width: 900px; background: #fff; }
svg text { fill: #1b1f24; font: 11px system-ui, sans-serif; } svg .small, svg .tick { fill: #57606a; font-size: 10px; }
svg .grid { stroke: #eaeef2; } svg .shade { fill: #ffd8b5; opacity: .35; } svg .fault { fill: #bc4c00; } svg .fault.open { fill: #6f2c00; }
svg .ok { fill: #2da44e; } svg .fail { fill: #bf8700; } svg .info { fill: #8250df; } svg .invoke { fill: #8250df; }
svg .bad { fill: #cf222e; stroke: #cf222e; stroke-width: 3; } svg .held { fill: #0969da; } svg .tone1 { fill: #54aeff; } svg .belief { fill: #1b7c83; }
svg .line { fill: none; stroke-width: 1.5; } svg .line.ok { stroke: #2da44e; } svg .line.fail { stroke: #bf8700; } svg .line.info { stroke: #8250df; }
.key span { display: inline-block; width: .9em; height: .9em; margin: 0 .3em 0 1em; vertical-align: -.1em; }
</style>
</head>
<body>
<h1><span class="outcome {{.V.Outcome}}">{{.V.Outcome}}</span> {{clean .V.Run.Name}}</h1>
<table>{{range .Summary}}<tr><th>{{clean .Name}}</th><td>{{clean .Value}}</td></tr>
{{end}}{{with .Log}}<tr><th>log</th><td>{{clean .}}</td></tr>{{end}}</table>

<h2>Verdicts</h2>
<table>
{{range .V.Checks}}<tr><td><span class="outcome {{.Outcome}}">{{.Outcome}}</span></td><td class="mono">{{clean .Name}}</td><td>{{.Title}}
{{with .Detail}}<div>{{clean .}}</div>{{end}}
{{range .Offenders}}<div class="offender"><b>{{clean .Text}}</b><ul>{{range .Ops}}<li>{{clean .}}</li>{{end}}</ul></div>{{end}}
{{if .Breaches}}<div>{{.Breaches}} in all</div>{{end}}
{{if .Counts}}<div class="mono">{{range $what, $n := .Counts}}{{$what}}: {{$n}}. {{end}}</div>{{end}}</td></tr>
{{end}}</table>
{{if .V.Beside}}<p>Porcupine's own view of what failed, in files beside this one:{{range .V.Beside}} <a href="{{.Name}}">{{clean .Title}}</a>{{end}}</p>{{end}}

<h2>The run</h2>
<p class="key"><span style="background:#2da44e"></span>ok<span style="background:#bf8700"></span>refused, or certainly without effect<span style="background:#8250df"></span>nobody knows<span style="background:#cf222e"></span>named by a check<span style="background:#bc4c00"></span>fault<span style="background:#0969da"></span>lock held<span style="background:#1b7c83"></span>believed to be held. A mouse that rests on a bar shows what it is.</p>
<div class="scroll">{{.Drawing}}</div>

<h2>Latencies and rates</h2>
<div class="scroll">{{.Plots}}</div>

{{if .Around}}<h2>Around what failed</h2>
{{range .Around}}<h3>{{.Check}}</h3><p>{{clean .Text}}</p>
<div class="scroll"><table class="rows">{{range .Rows}}<tr{{if .Bad}} class="bad"{{end}}><td>{{clean .Text}}</td></tr>
{{end}}</table></div>{{end}}{{end}}

{{if .Notes}}<h2>Notes</h2><table>{{range .Notes}}<tr><td>{{clean .Name}}</td><td>{{clean .Value}}</td></tr>
{{end}}</table>{{end}}
</body>
</html>
`))
