error: athena knows folders of the form NAME=VALUE alone, whose name no column has, and the layout has others: {partition}/{date}
