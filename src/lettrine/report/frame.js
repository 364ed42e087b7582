// In a notebook the page stands in a frame, which is made as high as the page is.
if (window.frameElement) {
  const fit = () => (window.frameElement.style.height = document.body.offsetHeight + "px");
  new ResizeObserver(fit).observe(document.body);
  fit();
}
