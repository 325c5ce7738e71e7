// The stack of the step that the pointer or the keyboard is on, in the panel below; Escape puts it away.
"use strict";
(() => {
    const panel = document.getElementById("panel");
    const marks = document.querySelectorAll("[data-step]");

    const leave = () => document.querySelectorAll(".on").forEach(mark => mark.classList.remove("on"));
    const hide = () => { leave(); panel.hidden = true; document.body.classList.remove("panel"); };
    const show = step => {
        const stack = document.getElementById("stack-" + step);
        leave();
        marks.forEach(mark => mark.classList.toggle("on", mark.dataset.step === step));
        panel.querySelector("p").textContent = stack ? stack.dataset.title : "step " + step;
        panel.querySelector("pre").textContent = stack ? stack.textContent : "";
        panel.hidden = false;
        document.body.classList.add("panel");
    };

    marks.forEach(mark => {
        mark.addEventListener("mouseenter", () => show(mark.dataset.step));
        mark.addEventListener("focus", () => {
            show(mark.dataset.step);
            const below = mark.getBoundingClientRect().bottom - panel.getBoundingClientRect().top;
            if (below > 0) {
                window.scrollBy(0, below + 8);
            }
        });
    });
    document.addEventListener("keydown", event => { if (event.key === "Escape") { hide(); } });

    // The bug is at the end of most pictures: begin where it is seen.
    const scroll = document.querySelector(".scroll"), marked = document.querySelector("svg .marked circle");
    if (scroll && marked) {
        scroll.scrollLeft = marked.getAttribute("cx") - scroll.clientWidth / 2;
    }
})();
