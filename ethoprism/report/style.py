"""The page's style sheet: screen and paper, light and dark; no file is fetched."""

CSS = """
:root{color-scheme:light dark;--paper:#fdfdfb;--ink:#1d2125;--soft:#5b646d;--faint:#8b949c;
--line:#dcdfe2;--wash:#f2f3f1;--accent:#00699c;--warn:#8a4b00;--warnwash:#fff4e2;--good:#17693c;
--true:#3b4248;--called:#00699c}
@media (prefers-color-scheme:dark){:root{--paper:#16191c;--ink:#e6e8ea;--soft:#a6afb7;
--faint:#7d878f;--line:#343a40;--wash:#1f2327;--accent:#6cb8e6;--warn:#f0b461;--warnwash:#2d2414;
--good:#73cf9c;--true:#c5cbd1;--called:#6cb8e6}}
*{box-sizing:border-box}
html{font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font-variant-numeric:tabular-nums}
.page{max-width:62rem;margin:0 auto;padding:2.5rem 1.5rem 4rem}
a{color:var(--accent)}
a.skip{position:absolute;left:-99rem}a.skip:focus{left:1rem;top:1rem}
h1{font-size:2rem;line-height:1.15;margin:.2rem 0 .35rem;letter-spacing:-.015em;
overflow-wrap:anywhere}
h2{font-size:1.3rem;line-height:1.25;margin:0 0 .4rem;letter-spacing:-.005em}
h3{font-size:1rem;margin:1.6rem 0 .3rem}
p{margin:.35rem 0 .8rem;max-width:44rem}
.kicker{font-size:.8rem;letter-spacing:.08em;text-transform:uppercase;color:var(--soft);margin:0}
.lead{color:var(--soft);margin-bottom:1.4rem}
.note,figcaption,caption{font-size:.85rem;color:var(--soft);line-height:1.45}
caption{text-align:left;padding:0 0 .5rem;max-width:44rem}
section{border-top:1px solid var(--line);padding-top:1.6rem;margin-top:2.4rem}
figure{margin:1rem 0 1.2rem}
figcaption{margin-top:.35rem;max-width:44rem}
nav ul{list-style:none;display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;padding:0;margin:1rem 0 0;
font-size:.88rem}
nav a{text-decoration:none}nav a:hover,nav a:focus{text-decoration:underline}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.5rem,1fr));gap:0;
margin:1.4rem 0 0;border:1px solid var(--line);border-radius:8px;overflow:hidden}
.facts div{padding:.7rem .9rem;box-shadow:-1px -1px 0 var(--line)}
.facts dt{font-size:.78rem;color:var(--soft);line-height:1.3}
.facts dd{margin:0 0 .1rem;font-size:1.35rem;font-weight:600;letter-spacing:-.01em;line-height:1.25}
.facts dd small{font-size:.8rem;font-weight:400;color:var(--soft);letter-spacing:0}
.facts{margin-bottom:0}
.box{border-left:3px solid var(--warn);background:var(--warnwash);padding:.65rem .95rem;
margin:1rem 0;border-radius:0 6px 6px 0;font-size:.95rem}
.box p{margin:.2rem 0}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(19rem,1fr));gap:0 2.2rem}
.verdicts ul{padding-left:1.1rem;margin:.3rem 0 .8rem}.verdicts li{margin:.32rem 0}
.verdicts h3{margin-top:.6rem}
.key{display:flex;flex-wrap:wrap;gap:.25rem 1.1rem;font-size:.85rem;color:var(--soft);padding:0;
margin:.4rem 0;list-style:none}
.swatch{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.4em;
vertical-align:-.05em;box-shadow:0 0 0 1px color-mix(in srgb,var(--ink) 25%,transparent)}
.scroll{overflow-x:auto;margin:.8rem 0 1rem}
table{border-collapse:collapse;font-size:.88rem;min-width:24rem}
th,td{padding:.28rem .8rem .28rem 0;text-align:left;vertical-align:baseline;font-weight:400;
border-bottom:1px solid var(--line)}
thead th{color:var(--soft);font-size:.8rem;vertical-align:bottom;line-height:1.25;
border-bottom:1px solid var(--faint)}
tbody th{overflow-wrap:anywhere;max-width:16rem}
.n{text-align:right;white-space:nowrap;padding-right:0;padding-left:.9rem}
td small{color:var(--soft)}
.multiples{display:grid;grid-template-columns:repeat(auto-fill,minmax(15rem,1fr));gap:.8rem 1.8rem}
.multiples figure{margin:.4rem 0}.multiples figcaption{margin:0 0 .15rem;color:var(--ink);
overflow-wrap:anywhere}
svg{display:block;width:100%;height:auto;overflow:visible}
svg text{font:11px system-ui,-apple-system,"Segoe UI",Roboto,Arial,sans-serif;fill:var(--soft);
font-variant-numeric:tabular-nums}
svg text.strong{fill:var(--ink);font-size:12px}svg text.big{fill:var(--ink);font-size:12.5px}
svg .axis{stroke:var(--faint);fill:none;stroke-width:1}
svg .grid{stroke:var(--line);fill:none;stroke-width:1}
svg .unknown{fill:var(--wash)}svg .band{fill:color-mix(in srgb,var(--ink) 7%,transparent)}
svg .seen{fill:color-mix(in srgb,var(--warn) 30%,transparent)}
svg .edge{stroke:color-mix(in srgb,var(--ink) 45%,transparent);stroke-width:.5}
svg .true{fill:var(--true)}svg .called{fill:var(--called)}
svg .trueline{stroke:var(--true);fill:none;stroke-width:1.6}
svg .calledline{stroke:var(--called);fill:none;stroke-width:1.8}
svg .chance{stroke:var(--warn);stroke-width:2}svg .whisker{stroke:var(--ink);stroke-width:1.3}
svg .outline{stroke:var(--ink);fill:none;stroke-width:1.5}
svg .dash{stroke-dasharray:4 3}
svg .heat{fill:var(--called)}svg .paper{fill:var(--paper)}
.errors{display:grid;grid-template-columns:repeat(auto-fill,minmax(17.5rem,1fr));gap:1rem 1.4rem;
padding:0;margin:.6rem 0;list-style:none}
.errors img{display:block;width:100%;height:auto;border-radius:4px;background:var(--wash)}
.errors figure{margin:0}.errors figcaption{margin-top:.3rem}
.tag{font-size:.75rem;font-weight:600;letter-spacing:.02em;color:var(--warn)}
dl.made{display:grid;grid-template-columns:max-content 1fr;gap:.3rem 1.4rem;font-size:.88rem}
dl.made dt{color:var(--soft)}dl.made dd{margin:0;overflow-wrap:anywhere}
code{font:.92em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
footer{margin-top:3rem;border-top:1px solid var(--line);padding-top:1rem;font-size:.85rem;
color:var(--soft)}
@media (max-width:40rem){.page{padding:1.4rem 1rem 3rem}h1{font-size:1.6rem}}
@media print{
:root{color-scheme:light;--paper:#fff;--ink:#111;--soft:#444;--faint:#777;--line:#ccc;--wash:#f0f0f0;
--accent:#00517a;--warn:#7a4200;--warnwash:#fbf3e6;--good:#17693c;--true:#333;--called:#00517a}
@page{margin:16mm 14mm}
html{font-size:10.5pt}.page{max-width:none;padding:0}nav,a.skip{display:none}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}
section{margin-top:1.4rem;padding-top:1rem}
h2,h3,caption,thead,.key,figcaption:first-child{break-after:avoid}
p+.multiples,p+.errors{break-before:avoid}.facts{grid-template-columns:repeat(6,1fr)}
figure,tr,.errors li,.box,.facts{break-inside:avoid}
.scroll{overflow:visible}table{font-size:8.5pt}.multiples{grid-template-columns:repeat(3,1fr)}
.errors{grid-template-columns:repeat(3,1fr);gap:.6rem 1rem}
}
"""
