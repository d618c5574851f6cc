package report

import "html/template"

var tmpl = template.Must(template.New("report").Funcs(template.FuncMap{"clean": clean}).Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"/>
<title>{{.V.Outcome}}: {{clean .V.Run.Name}}</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5em auto; max-width: 1280px; padding: 0 20px; color: #1b1f24; background: #fff; box-sizing: border-box; }
h1 { font-size: 1.6em; margin-bottom: .2em; } h2 { font-size: 1.25em; margin: 1.8em 0 .6em; border-bottom: 1px solid #d0d7de; } h3 { font-size: 1.05em; margin: 1.2em 0 .3em; }
.says { font-size: 1.1em; margin: .2em 0 1em; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; vertical-align: top; padding: .2em .8em .2em 0; }
.mono, .rows td { font: 12.5px/1.45 ui-monospace, monospace; overflow-wrap: anywhere; } .count { color: #57606a; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(370px, 1fr)); gap: .1em 1.2em; margin: 0; }
.facts div { display: flex; gap: .7em; border-bottom: 1px solid #eaeef2; padding: .15em 0; } .facts .wide { grid-column: 1 / -1; }
.facts dt { color: #57606a; min-width: 8.2em; } .facts dd { margin: 0; overflow-wrap: anywhere; }
.outcome { font-weight: 700; padding: .05em .5em; border-radius: .3em; white-space: nowrap; }
.pass { background: #dafbe1; color: #116329; } .FAIL { background: #ffebe9; color: #a40e26; } .undecided { background: #fff8c5; color: #7d4e00; }
.rejected { background: #eee4ff; color: #5a32a3; } .nothing { background: #eaeef2; color: #57606a; }
.failure { border-left: 4px solid #cf222e; padding: .1em 0 .1em 1em; margin: 1em 0; }
.offender { margin: .3em 0; } .offender ul { margin: .2em 0; padding-left: 1.3em; } .offender li { font: 12.5px/1.45 ui-monospace, monospace; overflow-wrap: anywhere; }
.checks td:first-child { width: 6em; } .checks td:nth-child(2) { width: 12.5em; }
tr.bad td { background: #ffebe9; } .rows tr:nth-child(even) { background: #f6f8fa; } .scroll { overflow-x: auto; }
summary { cursor: pointer; color: #0969da; }
svg { width: 100%; height: auto; min-width: 900px; background: #fff; display: block; }
svg text { fill: #1b1f24; font: 12px system-ui, sans-serif; } svg .small, svg .tick { fill: #57606a; font-size: 11px; }
svg .mid { text-anchor: middle; } svg .end { text-anchor: end; } svg .inside { fill: #fff; } svg .named { fill: #a40e26; font-weight: 600; }
svg .grid { stroke: #e1e6eb; } svg .shade { fill: #ffd8b5; opacity: .35; } svg .fault { fill: #bc4c00; } svg .fault.open { fill: #6f2c00; }
svg .ok { fill: #2da44e; } svg .fail { fill: #bf8700; } svg .info { fill: #8250df; } svg .invoke { fill: #8250df; }
svg .bad, svg .mark { fill: #cf222e; stroke: #cf222e; stroke-width: 2; } svg .held { fill: #0969da; } svg .tone1 { fill: #54aeff; } svg .belief { fill: #1b7c83; }
svg .line { fill: none; stroke-width: 1.5; } svg .line.ok { stroke: #2da44e; } svg .line.fail { stroke: #bf8700; } svg .line.info { stroke: #8250df; }
.key span { display: inline-block; white-space: nowrap; margin-right: 1.1em; } .key i { display: inline-block; width: .9em; height: .9em; margin-right: .35em; vertical-align: -.1em; }
</style>
</head>
<body>
<h1><span class="outcome {{.V.Outcome}}">{{.V.Outcome}}</span> {{clean .V.Run.Name}}</h1>
<p class="says">{{.Says}}</p>
<dl class="facts">{{range .Summary}}<div{{if gt (len .Value) 34}} class="wide"{{end}}><dt>{{clean .Name}}</dt><dd>{{clean .Value}}</dd></div>
{{end}}{{with .Log}}<div class="wide"><dt>log</dt><dd>{{clean .}}</dd></div>{{end}}</dl>

{{if .Failed}}<h2>What failed</h2>
{{range .Failed}}<div class="failure"><h3><span class="mono">{{clean .Name}}</span>: {{.Title}}</h3>
<p>It was broken {{.Breaches}} times{{with .Detail}}; {{clean .}}{{end}}.</p>
{{range .Offenders}}<div class="offender"><b>{{clean .Text}}</b><ul>{{range .Ops}}<li>{{clean .}}</li>{{end}}</ul></div>{{end}}
{{if .Close}}<p>Close up, the first of them that names calls: {{clean .Text}}. Each bar is a call, from when it was sent to when it was answered; red are those that are named, the others are of the same object.</p>
<div class="scroll">{{.Close}}</div>{{end}}</div>
{{end}}{{end}}
{{if .V.Beside}}<p>Porcupine's own view of what failed, in files beside this one:{{range .V.Beside}} <a href="{{.Name}}">{{clean .Title}}</a>{{end}}</p>{{end}}
{{if .Others}}<h2>What is not known</h2>
<table class="checks">{{range .Others}}<tr><td><span class="outcome {{.Outcome}}">{{.Outcome}}</span></td><td class="mono">{{clean .Name}}</td><td>{{.Title}}
{{with .Detail}}<div>{{clean .}}</div>{{end}}
{{range .Offenders}}<div class="offender"><b>{{clean .Text}}</b><ul>{{range .Ops}}<li>{{clean .}}</li>{{end}}</ul></div>{{end}}</td></tr>
{{end}}</table>{{end}}

<h2>The run</h2>
<p>Time goes to the right. Clients called the nodes while faults came and went; then all was quiet, and everything was read once more. Shaded is when a fault was there.
A lane for each node has the calls that it was asked, one bar each; a lane for each lock has who was told that it holds it, and below who believed to. A mouse that rests on a bar shows what it is.</p>
<p class="key"><span><i style="background:#2da44e"></i>answered</span><span><i style="background:#bf8700"></i>refused, or certainly without effect</span><span><i style="background:#8250df"></i>nobody knows what became of it</span><span><i style="background:#cf222e"></i>named by a check</span><span><i style="background:#bc4c00"></i>fault</span><span><i style="background:#0969da"></i>lock held</span><span><i style="background:#1b7c83"></i>believed to be held</span></p>
<div class="scroll">{{.Drawing}}</div>

<h2>Latencies and rates</h2>
<p>Each call by when it was sent and how long it took, on a logarithmic scale; below, how many ended in each second, by how.</p>
<div class="scroll">{{.Plots}}</div>

<h2>What was checked, and found nothing</h2>
<table class="checks">
{{range .Good}}<tr><td><span class="outcome {{.Outcome}}">{{.Outcome}}</span></td><td class="mono">{{clean .Name}}</td><td>{{.Title}}
{{with .Detail}}<div>{{clean .}}</div>{{end}}
{{if .Counts}}<div class="mono count">{{range $what, $n := .Counts}}{{$what}}: {{$n}}. {{end}}</div>{{end}}</td></tr>
{{end}}</table>

{{if .Around}}<h2>Around what failed</h2>
{{range .Around}}<details><summary>{{.Check}}: {{clean .Text}}</summary>
<div class="scroll"><table class="rows">{{range .Rows}}<tr{{if .Bad}} class="bad"{{end}}><td>{{clean .Text}}</td></tr>
{{end}}</table></div></details>{{end}}{{end}}

{{if .Notes}}<h2>Notes of the runner</h2><table>{{range .Notes}}<tr><td>{{clean .Name}}</td><td>{{clean .Value}}</td></tr>
{{end}}</table>{{end}}
</body>
</html>
`))
