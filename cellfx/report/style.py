"""The style sheet of a report: on a screen, on a telephone, in the dark and on paper; fonts are those at hand."""

STYLE = """
:root{--ink:#1b2430;--muted:#5d6878;--line:#e4e7ec;--page:#fbfbfa;--card:#fff;--accent:#0b6fa4;--stripe:#f5f6f7}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ee;--muted:#9aa5b5;--line:#2b3340;--page:#11161d;--card:#19202a;
--accent:#6cb8e0;--stripe:#161c25}}
*{box-sizing:border-box}html{scroll-behavior:smooth;scroll-padding-top:1.5rem}
body{margin:0 auto;max-width:74rem;padding:3.5rem 1.5rem 5rem;background:var(--page);color:var(--ink);
font:1rem/1.6 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
display:grid;grid-template-columns:minmax(0,1fr);gap:0 3rem}
h1{font-size:clamp(1.7rem,4vw,2.5rem);line-height:1.15;letter-spacing:-.02em;margin:0;font-weight:680}
h2{font-size:1.3rem;letter-spacing:-.01em;margin:0 0 .6rem;font-weight:640}
h3{font-size:1.02rem;margin:0 0 .4rem;font-weight:640}
h1,h2,h3,p,dd,dt,figcaption,caption,li,code{overflow-wrap:anywhere}
p{margin:0 0 .9rem;max-width:44rem}.lead{color:var(--muted);margin:.6rem 0 0}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(11.5rem,1fr));gap:.9rem;margin:2rem 0 0}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:.95rem 1.1rem 1rem}
.card dt{color:var(--muted);font-size:.82rem}.card dd{margin:0}
.value{font-size:1.35rem;line-height:1.4;font-weight:640;letter-spacing:-.02em;font-variant-numeric:tabular-nums}
.note{color:var(--muted);font-size:.8rem;line-height:1.4}
nav{margin:2.2rem 0 0;font-size:.9rem}
nav ol{list-style:none;margin:0;padding:0;display:flex;flex-wrap:wrap;gap:.3rem 1.3rem}
nav a{color:var(--accent);text-decoration:none}nav a:hover,nav a:focus{text-decoration:underline}
main{min-width:0}section{border-top:1px solid var(--line);padding-top:1.8rem;margin-top:2.4rem}
figure{margin:1.2rem 0 1.8rem}.paper{display:inline-block;max-width:100%;background:#fff;border:1px solid var(--line);
border-radius:10px;overflow:hidden;line-height:0}img{max-width:100%;height:auto}
figcaption{color:var(--muted);font-size:.88rem;margin-top:.5rem;max-width:44rem}
math{font-family:"STIX Two Math","Latin Modern Math","Cambria Math","DejaVu Math TeX Gyre",math}
.formula{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1.1rem 1.4rem;overflow-x:auto;
width:fit-content;max-width:100%}.formula math{font-size:1.32rem}td math{font-size:1.08rem;white-space:nowrap}
tr:has(math) td{vertical-align:middle}
code{font:.82rem/1.5 ui-monospace,"SF Mono",Consolas,"DejaVu Sans Mono",monospace;color:var(--muted)}
.formula+code{display:block;margin-top:.5rem}.source{color:var(--muted);font-size:.8rem;margin:.3rem 0 0}
.scroll+.source{margin:-1.2rem 0 1.6rem}.paper+.source{margin-top:.5rem}
.row{display:flex;flex-wrap:wrap;gap:0 2rem;align-items:flex-start}.row>*{min-width:0;max-width:100%}
.row .words{flex:1 1 15rem;max-width:26rem;margin-top:1.2rem}
.scroll{overflow-x:auto;margin:1rem 0 1.6rem}table{border-collapse:collapse;font-size:.88rem;min-width:20rem}
caption{text-align:left;color:var(--muted);padding-bottom:.5rem}
th{text-align:left;font-weight:600;border-bottom:1.5px solid var(--line)}
th,td{padding:.38rem 1.6rem .38rem .6rem;vertical-align:top}
td{border-bottom:1px solid var(--line)}tbody tr:nth-child(even){background:var(--stripe)}
.wide{font-size:.82rem}.wide th,.wide td{padding:.34rem .9rem .34rem .4rem}
.number{text-align:right;font-variant-numeric:tabular-nums}
@media (min-width:64rem){body{grid-template-columns:12rem minmax(0,1fr)}header{grid-column:1/-1}
nav{position:sticky;top:2rem;align-self:start;margin-top:4.3rem;max-height:calc(100vh - 4rem);overflow:auto}
nav ol{display:block}nav li{margin:.35rem 0}}
@media (max-width:48rem){.paper{overflow-x:auto}.paper img{max-width:none}}
@media (prefers-color-scheme:dark){.paper{background:#e9ebee}.paper img{mix-blend-mode:multiply}}
@media print{:root{--ink:#000;--muted:#444;--line:#ccc;--page:#fff;--card:#fff;--accent:#000;--stripe:#fff}
body{display:block;max-width:none;padding:0;font-size:10pt}nav{display:none}figure,.card,tr,.row{break-inside:avoid}
h2,h3{break-after:avoid}.scroll{overflow:visible}
.paper{background:#fff;border:0}.paper img{mix-blend-mode:normal;max-width:100%}}
"""
